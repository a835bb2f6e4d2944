package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// layout is the version of what a data directory holds. A change that an older
// program could not read gets the next number.
const layout = 1

// ErrInUse is returned by [Open] when another process holds the directory.
var ErrInUse = errors.New("another gatehouse process uses it")

// A Directory is a data directory that this process holds.
type Directory struct {
	Path string
	// Fresh tells that the directory was empty.
	Fresh bool
	lock  *flock.Flock
}

// Open locks the data directory at path and creates it if it is not there. It
// fails with [ErrInUse] if another process holds it, and refuses one that a
// newer version wrote, or that holds files of something else.
func Open(path string) (*Directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	foreign, err := foreignFiles(path)
	if err != nil {
		return nil, err
	}
	if foreign != "" {
		return nil, fmt.Errorf("%s holds %s but no gatehouse data: choose an empty --data-dir", path, foreign)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("creating data directory: %w", err)
	}
	d := &Directory{Path: path, lock: flock.New(filepath.Join(path, "lock"), flock.SetPermissions(0o600))}
	held, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking data directory: %w", err)
	}
	if !held {
		return nil, fmt.Errorf("data directory %s: %w", path, ErrInUse)
	}
	if err := d.checkLayout(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// CheckEmpty refuses a directory that holds anything. One that is not there is
// empty.
func CheckEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading data directory: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: choose a new data directory", path)
	}
	return nil
}

// Make makes a data directory of what fill puts into it. It must be empty, and
// [Open] refuses it until fill has returned nil. If fill fails everything in it
// is removed.
func Make(path string, fill func(path string) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := CheckEmpty(path); err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("creating data directory: %w", err)
	}
	err = fill(path)
	if err == nil {
		err = writeLayout(filepath.Join(path, "version"))
	}
	if err != nil {
		return errors.Join(err, removeContent(path))
	}
	return nil
}

func removeContent(path string) error {
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("removing what was begun: %w", err)
	}
	return nil
}

func writeLayout(file string) error {
	return renameio.WriteFile(file, []byte(strconv.Itoa(layout)+"\n"), 0o600)
}

// Close gives the directory back.
func (d *Directory) Close() { _ = d.lock.Unlock() }

// Join returns the path of a file in the directory.
func (d *Directory) Join(elem ...string) string {
	return filepath.Join(append([]string{d.Path}, elem...)...)
}

func (d *Directory) checkLayout() error {
	file := d.Join("version")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		d.Fresh = true
		return writeLayout(file)
	}
	if err != nil {
		return fmt.Errorf("reading layout of data directory: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return fmt.Errorf("%s does not hold a layout version: the directory is damaged or not gatehouse's", file)
	}
	if n > layout {
		return fmt.Errorf("data directory %s has layout %d, and this version knows %d at most: run the newer gatehouse that wrote it", d.Path, n, layout)
	}
	return nil
}

// foreignFiles names a file of a directory that is not empty and has never been
// a data directory.
func foreignFiles(path string) (string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading data directory: %w", err)
	}
	foreign := ""
	for _, e := range entries {
		switch e.Name() {
		case "version", "lock":
			return "", nil
		}
		foreign = e.Name()
	}
	return foreign, nil
}
