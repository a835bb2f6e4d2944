package offline

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
)

// Errors of [Restore.Run], wrapped.
var (
	// ErrUnsealed means that nothing shows who made the snapshot.
	ErrUnsealed = errors.New("the snapshot has no seal")
	// ErrForged means that somebody has changed it.
	ErrForged = errors.New("the snapshot was changed after it was saved")
)

// A Restore makes a data directory of a snapshot.
type Restore struct {
	// Snapshot is the file, and DataDir the directory, which must be empty or
	// not there.
	Snapshot, DataDir string
	// KeysFrom is a folder with the keys of the old data directory, which are
	// copied into the new one, or "". Given are the files that the server is
	// going to be given by its flags, which are not.
	KeysFrom string
	Given    Keys
	// SkipSeal takes a snapshot that has no seal, such as etcdctl makes. One
	// with a seal is still checked.
	SkipSeal bool
	Log      *slog.Logger
}

// Run checks everything that can be checked, and writes only then. Until it has
// returned nil no server takes the directory for its own.
func (r *Restore) Run() (*snapshot.File, error) {
	if err := etcd.CheckEmpty(r.DataDir); err != nil {
		return nil, err
	}
	file, err := snapshot.Read(r.Snapshot)
	if err != nil {
		return nil, err
	}
	if !file.Claimed {
		return nil, fmt.Errorf("%s is of a store that gatehouse has not used", r.Snapshot)
	}
	keys := r.Given.over(keysIn(r.KeysFrom))
	if err := keys.fit(file.Claim); err != nil {
		return nil, err
	}
	if err := r.checkSeal(file, keys); err != nil {
		return nil, err
	}
	copies := r.copies()
	if _, ok := copies[authorityCert]; ok {
		if _, err := pki.LoadAuthority(copies[authorityCert], copies[authorityKey]); err != nil {
			return nil, err
		}
	}
	return file, etcd.Make(r.DataDir, func(dir string) error {
		if err := etcd.Restore(r.Snapshot, filepath.Join(dir, storeDir), r.Log); err != nil {
			return err
		}
		for name, from := range copies {
			perm := fs.FileMode(0o600)
			if name == authorityCert {
				perm = 0o644
			}
			if err := copyFile(from, filepath.Join(dir, name), perm); err != nil {
				return err
			}
		}
		return nil
	})
}

// copies are the files of keys to copy, by their name.
func (r *Restore) copies() map[string]string {
	from := keysIn(r.KeysFrom)
	all := map[string]string{}
	if from.ClientCA != "" {
		all[authorityCert], all[authorityKey] = from.ClientCA, filepath.Join(r.KeysFrom, authorityKey)
	}
	if from.Signing != "" {
		all[keyring.FileName] = from.Signing
	}
	if from.Encryption != "" {
		all[encryptionFile] = from.Encryption
	}
	return all
}

// checkSeal refuses a snapshot that nobody with a key of the store has made.
func (r *Restore) checkSeal(file *snapshot.File, keys Keys) error {
	if file.Seal == nil {
		if r.SkipSeal {
			return nil
		}
		return fmt.Errorf("%w: nothing shows that it is as it was saved", ErrUnsealed)
	}
	if keys.Encryption == "" {
		return fmt.Errorf("%w: encryption key %s", ErrMissingKey, file.Seal.Key)
	}
	own, err := atrest.Read(keys.Encryption)
	if err != nil {
		return err
	}
	switch err := own.CheckSeal(atrest.ID(file.Seal.Key), file.Digest, file.Seal.Code); {
	case errors.Is(err, atrest.ErrSeal):
		return fmt.Errorf("%s: %w", r.Snapshot, ErrForged)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMissingKey, err)
	}
	return nil
}
