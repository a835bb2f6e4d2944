// Package offline does to a data directory what no server may do meanwhile:
// makes one of a snapshot, moves one into an etcd cluster, changes the keys it
// is encrypted with.
//
// Whatever is made of a store is of no use without its keys, which are never in
// it. So every step first compares the keys at hand with those that the store
// names in its claim, and refuses before it writes anything.
package offline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// Names of the files of keys in a data directory, besides [keyring.FileName].
const (
	authorityCert  = "ca.crt"
	authorityKey   = "ca.key"
	encryptionFile = "encryption.yaml"
	// storeDir is where etcd's own files are.
	storeDir = "etcd"
)

// ErrMissingKey is wrapped by the errors about keys that a store needs and that
// are not among those at hand.
var ErrMissingKey = errors.New("keys of the store are missing")

// Keys are the files that the keys of a store are in. Any may be "".
type Keys struct {
	// ClientCA has the certificates that client certificates chain to, Signing
	// the key that signs service account tokens, and Encryption is an
	// EncryptionConfiguration.
	ClientCA, Signing, Encryption string
}

// keysIn returns the files of a data directory, or of a folder that has the same
// files.
func keysIn(dir string) Keys {
	if dir == "" {
		return Keys{}
	}
	var k Keys
	for name, to := range map[string]*string{
		authorityCert: &k.ClientCA, keyring.FileName: &k.Signing, encryptionFile: &k.Encryption,
	} {
		// A file that cannot be opened is reported when it is read.
		if path := filepath.Join(dir, name); !absent(path) {
			*to = path
		}
	}
	return k
}

// over returns k with what other lacks.
func (k Keys) over(other Keys) Keys {
	for _, p := range []struct {
		to   *string
		from string
	}{{&k.ClientCA, other.ClientCA}, {&k.Signing, other.Signing}, {&k.Encryption, other.Encryption}} {
		if *p.to == "" {
			*p.to = p.from
		}
	}
	return k
}

// claim names the keys in the files.
func (k Keys) claim() (etcd.Claim, error) {
	var c etcd.Claim
	if k.ClientCA != "" {
		ids, err := pki.Fingerprints(k.ClientCA)
		if err != nil {
			return c, fmt.Errorf("reading client CA: %w", err)
		}
		c.Authorities = ids
	}
	if k.Signing != "" {
		ring, err := keyring.Load(k.Signing)
		if err != nil {
			return c, err
		}
		for _, key := range ring.Keys() {
			c.Signing = append(c.Signing, key.ID)
		}
	}
	if k.Encryption != "" {
		keys, err := atrest.Read(k.Encryption)
		if err != nil {
			return c, err
		}
		for _, id := range keys.IDs {
			c.Encryption = append(c.Encryption, string(id))
		}
	}
	return c, nil
}

// fit returns an error that names each key that the store with the claim needs
// and k has not.
func (k Keys) fit(stored etcd.Claim) error {
	ours, err := k.claim()
	if err != nil {
		return err
	}
	var missing []string
	for _, m := range ours.Lacks(stored) {
		missing = append(missing, m.What+" "+m.ID)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrMissingKey, strings.Join(missing, ", "))
	}
	return nil
}

// holdsStore returns an error unless dir is a data directory with a store.
func holdsStore(dir string) error {
	if info, err := os.Stat(filepath.Join(dir, storeDir)); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a data directory with an embedded store", dir)
	}
	return nil
}

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// copyFile copies a small file whole. It refuses to replace another one.
func copyFile(from, to string, perm fs.FileMode) error {
	data, err := wholefile.Read(from)
	if err != nil {
		return fmt.Errorf("copying a key: %w", err)
	}
	return writeNew(to, data, perm)
}

// writeNew writes a file, or finds that it is there already.
func writeNew(path string, data []byte, perm fs.FileMode) error {
	there, err := wholefile.Read(path)
	switch {
	case err == nil && string(there) == string(data):
		return nil
	case err == nil:
		return fmt.Errorf("%s is another key: choose an empty folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("copying a key: %w", err)
	}
	return wholefile.Write(path, data, perm)
}
