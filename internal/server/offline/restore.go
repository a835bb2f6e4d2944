package offline

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
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
	// ErrRevoked means that more had been revoked after it was saved.
	ErrRevoked = errors.New("the snapshot is older than what was revoked")
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
	// EpochFile is what counts the changes of revocations outside the old store.
	// Without it, the one in KeysFrom, if there is one. AcceptLost restores though
	// it shows that revocations are lost.
	EpochFile  string
	AcceptLost bool
	Log        *slog.Logger
}

// A Restored is a snapshot that was restored.
type Restored struct {
	*snapshot.File
	// Doubt is what nothing shows about revocations after the snapshot, or "".
	Doubt string
}

// Run checks everything that can be checked, and writes only then. Until it has
// returned nil no server takes the directory for its own.
func (r *Restore) Run() (*Restored, error) {
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
	known, doubt, err := r.checkRevocations(file)
	if err != nil {
		return nil, err
	}
	copies := r.copies()
	if _, ok := copies[authorityCert]; ok {
		if _, err := pki.LoadAuthority(copies[authorityCert], copies[authorityKey]); err != nil {
			return nil, err
		}
	}
	return &Restored{file, doubt}, etcd.Make(r.DataDir, func(dir string) error {
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
		if known == nil || known.Lost(file.Revocations) != nil {
			return nil // the server begins to count anew
		}
		return known.Write(filepath.Join(dir, epoch.FileName))
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

// checkRevocations refuses a snapshot from before a revocation that is known of.
// It returns what is known, and what is not.
func (r *Restore) checkRevocations(file *snapshot.File) (known *epoch.Evidence, doubt string, err error) {
	path := r.EpochFile
	if path == "" && r.KeysFrom != "" {
		path = filepath.Join(r.KeysFrom, epoch.FileName)
	}
	if path != "" {
		if known, err = epoch.ReadFile(path); err != nil {
			return nil, "", err
		}
	}
	if known == nil && r.EpochFile != "" {
		return nil, "", fmt.Errorf("%s is not there: name the file that counted the revocations of the old server, or none", r.EpochFile)
	}
	saved := "it was saved, and it does not tell when that was"
	if !file.Time.IsZero() {
		saved = file.Time.UTC().Format(time.RFC3339)
	}
	if known == nil {
		return nil, fmt.Sprintf("nothing shows whether anything was revoked after %s: there is no file %s", saved, epoch.FileName), nil
	}
	lost, lifted := known.Revoked-file.Revocations.Revoked, known.Epoch-file.Revocations.Epoch
	switch {
	case lost > 0 && r.AcceptLost:
		return known, fmt.Sprintf("revocations are lost, as was accepted: %d after %s", lost, saved), nil
	case lost > 0:
		return nil, "", fmt.Errorf("%w: %d were made after %s, the last at %s, and whoever they are about would be let in again",
			ErrRevoked, lost, saved, known.Changed.UTC().Format(time.RFC3339))
	case lifted > 0:
		return known, fmt.Sprintf("revocations that were lifted after %s are in force again: %d", saved, lifted), nil
	case lifted < 0 || file.Time.IsZero() || known.Seen.Before(file.Time):
		return known, fmt.Sprintf("nothing shows whether anything was revoked after %s: %s is from %s",
			saved, path, known.Seen.UTC().Format(time.RFC3339)), nil
	}
	return known, "", nil
}
