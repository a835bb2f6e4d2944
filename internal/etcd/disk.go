package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// minRoom is what must be free on the disk at start, in bytes: the segment that
// is being written and the next one, which etcd allocates ahead, and as much
// again for the database. With less, etcd would end the process at once.
const minRoom = 4 * walSegment

// roomFor refuses a disk that is too full to start on. Where the room cannot be
// told, etcd finds out for itself.
func roomFor(dir string) error {
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
		dir = filepath.Dir(dir)
	}
	if free, ok := freeBytes(dir); ok && free < minRoom {
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, and %d MiB are needed",
			syscall.ENOSPC, free>>20, dir, minRoom>>20)
	}
	return nil
}
