// Package wholefile writes and reads small files that are only of use whole:
// keys, certificates, kubeconfigs.
//
// Whoever opens a file that [Write] made, after a crash too, finds the old
// content or the new one, never a part, and never with other permissions than
// asked for. [Read] refuses what is too big to be such a file, [ReadPrivate] what
// everybody may open.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Limit is the size in bytes above which [Read] refuses a file. The largest
// thing read through it is a bundle of certificates, at 2 kB each.
const Limit = 1 << 20

// Write replaces the file at path by one with data, with exactly the given
// permissions whatever the umask is. It makes the directory, for the owner
// alone, if there is none. Once Write has returned nil the content stays, even
// if the power fails.
func Write(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := replace(path, data, perm); err != nil {
		return fmt.Errorf("writing %s: %w", path, cause(err))
	}
	return syncDir(dir)
}

func replace(path string, data []byte, perm fs.FileMode) error {
	// The temporary file is in the same directory: elsewhere, a rename could
	// cross file systems, and a key would lie in a directory open to all.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)),
		renameio.WithPermissions(perm), renameio.IgnoreUmask())
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// cause returns err without the name of the temporary file, which tells nobody
// anything and is another one each time.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// syncDir makes the renaming of a file in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network file systems know no sync of a directory, and answer
	// EINVAL; there the rename is as lasting as it gets.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return nil
}

// Read returns the content of the file at path. The errors wrap those of
// package os, and name the path.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

// ReadPrivate is [Read] for a file that everybody is kept out of except its
// owner, and its group: Kubernetes opens all files of a volume to the group that
// a pod names in fsGroup.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 {
		return nil, fmt.Errorf("%s is open to every user of this machine (mode %04o): make sure nobody has copied it, then run chmod 600 on it", path, perm)
	}
	return readAll(f)
}

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, Limit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > Limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: it cannot be the file that was meant", f.Name(), Limit)
	}
	return data, nil
}
