//go:build linux

package runner

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"

	"gatehouse.dev/gatehouse/internal/secret"
	"gatehouse.dev/gatehouse/internal/workload/payload"
)

// ErrTokenDir is that --token-dir is none that a token may be put into.
var ErrTokenDir = errors.New("--token-dir")

// files are what the process reads.
type files struct {
	way       *way
	namespace string
	dir       payload.Dir
	// extra are files that never change.
	extra map[string][]byte
	// lock is a folder that outlives the process, held by this one; nil if the
	// folder is in the memory of the process's namespace.
	lock *os.File
}

// files opens --token-dir, if there is one.
func (r *Run) files(w *way) (*files, error) {
	f := &files{way: w, namespace: r.Process.Namespace}
	if r.TokenDir == "" {
		return f, nil
	}
	if err := os.MkdirAll(r.TokenDir, 0o700); err != nil {
		return nil, fmt.Errorf("making %w: %w", ErrTokenDir, err)
	}
	root, err := os.OpenRoot(r.TokenDir)
	if err != nil {
		return nil, fmt.Errorf("opening %w: %w", ErrTokenDir, err)
	}
	f.dir = payload.Dir{Root: root, Mode: 0o600}
	if err := f.own(r); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %w: %w", ErrTokenDir, err), f.close())
	}
	return f, nil
}

// own makes the folder this process's, and the files the user's.
func (f *files) own(r *Run) error {
	folder, err := f.dir.Root.Open(".")
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("%s is another gatehouse run's: %w", r.TokenDir, err), folder.Close())
	}
	f.lock = folder
	info, err := folder.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others than its owner may write to %s", r.TokenDir)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() && (r.Command.User == nil || owner != r.Command.User.UID) {
		return fmt.Errorf("%s belongs to somebody else, who could put other files there: name a folder of your own", r.TokenDir)
	}
	if u := r.Command.User; u != nil {
		f.dir.Owner = &payload.Owner{UID: int(u.UID), GID: int(u.GID)}
		if err := folder.Chown(int(u.UID), int(u.GID)); err != nil {
			return err
		}
	}
	config, err := f.way.kubeconfig(r.TokenDir, f.namespace)
	f.extra = map[string][]byte{kubeconfigName: config}
	return err
}

// mounted takes the folder in the process's namespace, if there is one.
func (f *files) mounted(root *os.Root) {
	if root != nil {
		// Nobody else gets into that namespace.
		f.dir = payload.Dir{Root: root, Mode: 0o644}
	}
}

// write hands a token to the process.
func (f *files) write(token secret.Bytes) error {
	ca, err := f.way.authority()
	if err != nil {
		return err
	}
	all := map[string][]byte{"token": token.Reveal(), "namespace": []byte(f.namespace)}
	if len(ca) > 0 {
		all["ca.crt"] = ca
	}
	maps.Copy(all, f.extra)
	return f.dir.Write(all)
}

// close removes what outlives the process.
func (f *files) close() error {
	if f.dir.Root == nil {
		return nil
	}
	var err error
	if f.lock != nil {
		err = errors.Join(f.dir.Clear(), f.lock.Close())
	}
	return errors.Join(err, f.dir.Root.Close())
}
