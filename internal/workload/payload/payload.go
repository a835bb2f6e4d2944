// Package payload puts files into a folder as a kubelet does, so that whoever
// reads them finds all of one time, never some of this and some of that.
//
// The one idea is the kubelet's: the files lie in a folder of their own, whose
// name begins with two dots and the time; the link ..data leads to it; and what
// programs open are links through ..data. A change makes another folder and
// renames the link, which is one step. Programs that watch for changes know this
// form, and wait for ..data.
//
// It refuses names that are not those of a plain file, and never leaves the
// folder. Upstream's own (pkg/volume/util.AtomicWriter) is in a module whose
// authors promise nothing to importers.
package payload

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	data    = "..data"
	nextTo  = "..data_tmp"
	pattern = "..2006_01_02_15_04_05."
)

// A Dir is a folder with such files. It is for one goroutine at a time.
type Dir struct {
	// Root is the folder.
	Root *os.Root
	// Mode is that of the files.
	Mode fs.FileMode
	// Owner is whose the files are; nil is who writes them.
	Owner *Owner
}

// An Owner is a user and a group.
type Owner struct{ UID, GID int }

// Write makes the folder hold these files and no others. It does nothing if it
// does already. What an error leaves is either as before or as wanted.
func (d Dir) Write(files map[string][]byte) error {
	for name := range files {
		if name == "" || strings.HasPrefix(name, "..") || strings.ContainsAny(name, "/\x00") || name == "." {
			return fmt.Errorf("writing files: %q is no name of one", name)
		}
	}
	before, err := d.Root.Readlink(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing files: %w", err)
	}
	if before != "" && d.holds(before, files) {
		return d.link(files)
	}
	now := time.Now().UTC().Format(pattern) + rand.Text()[:10]
	if err := d.fill(now, files); err != nil {
		return errors.Join(fmt.Errorf("writing files: %w", err), d.Root.RemoveAll(now))
	}
	if err := d.turn(now); err != nil {
		return errors.Join(fmt.Errorf("writing files: %w", err), d.Root.RemoveAll(now))
	}
	if err := d.link(files); err != nil {
		return err
	}
	return d.sweep(now, files)
}

// Clear removes what Write has made, and leaves the folder itself.
func (d Dir) Clear() error {
	before, err := d.Root.Readlink(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing files: %w", err)
	}
	// The link goes first: then nobody can reach the files any more.
	err = d.Root.Remove(data)
	return errors.Join(err, d.sweep("", nil), d.Root.RemoveAll(before))
}

// fill makes the folder named at with the files.
func (d Dir) fill(at string, files map[string][]byte) error {
	if err := d.Root.Mkdir(at, 0o755); err != nil {
		return err
	}
	// Whatever the umask is.
	if err := d.Root.Chmod(at, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := at + "/" + name
		if err := d.Root.WriteFile(path, files[name], 0o600); err != nil {
			return err
		}
		if err := d.Root.Chmod(path, d.Mode); err != nil {
			return err
		}
		if d.Owner == nil {
			continue
		}
		if err := d.Root.Chown(path, d.Owner.UID, d.Owner.GID); err != nil {
			return err
		}
	}
	return nil
}

// turn makes ..data lead to the folder named to, in one step.
func (d Dir) turn(to string) error {
	if err := d.Root.Remove(nextTo); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.Root.Symlink(to, nextTo); err != nil {
		return err
	}
	return d.Root.Rename(nextTo, data)
}

// link makes the links that programs open.
func (d Dir) link(files map[string][]byte) error {
	for name := range files {
		to := data + "/" + name
		if is, err := d.Root.Readlink(name); err == nil && is == to {
			continue
		}
		if err := d.Root.Symlink(to, name); err != nil {
			return fmt.Errorf("writing files: %w", err)
		}
	}
	return nil
}

// sweep removes the links of files that there are no more, and the folders but
// the one named now.
func (d Dir) sweep(now string, files map[string][]byte) error {
	entries, err := d.entries()
	if err != nil {
		return fmt.Errorf("removing old files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		_, wanted := files[name]
		switch {
		case e.IsDir() && isOurs(name) && name != now:
			errs = append(errs, d.Root.RemoveAll(name))
		case e.Type() == fs.ModeSymlink && !wanted:
			if to, err := d.Root.Readlink(name); err == nil && to == data+"/"+name {
				errs = append(errs, d.Root.Remove(name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing old files: %w", err)
	}
	return nil
}

// isOurs tells the folders that fill has made.
func isOurs(name string) bool {
	if len(name) <= len(pattern) {
		return false
	}
	_, err := time.Parse(pattern, name[:len(pattern)])
	return err == nil
}

// holds reports whether the folder named at has these files and no others.
func (d Dir) holds(at string, files map[string][]byte) bool {
	if !isOurs(at) {
		return false
	}
	entries, err := fs.ReadDir(d.Root.FS(), at)
	if err != nil || len(entries) != len(files) {
		return false
	}
	for name, want := range files {
		got, err := d.Root.ReadFile(at + "/" + name)
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func (d Dir) entries() ([]fs.DirEntry, error) {
	dir, err := d.Root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}
