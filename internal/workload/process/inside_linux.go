package process

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageFD is where a stage finds its connection.
const stageFD = 3

// An order is what the stage is told.
type order struct {
	Command Command
	Parent  int // the process that asks
	// Alone says that there is a user namespace, in which the stage has rights
	// that are not the program's.
	Alone bool
}

// A failure is what the stage answers if it does not become the program.
type failure struct {
	Text  string
	Errno syscall.Errno
	// Exec says that all was there but the program.
	Exec bool
}

func (f failure) error() error {
	if f.Errno == 0 {
		return errors.New(f.Text)
	}
	return fmt.Errorf("%s%w", f.Text, f.Errno)
}

// Inside furnishes the namespace that it was started in, and becomes the
// program. It returns only if it could not, with an error only if it could not
// tell that to who started it. Called by hand it does nothing.
func Inside() error {
	// The signal for the end of the parent is a matter of this thread.
	runtime.LockOSThread()
	file := os.NewFile(stageFD, "stage")
	unix.CloseOnExec(stageFD)
	conn, err := net.FileConn(file)
	if err != nil {
		return errors.New("this is a part of gatehouse run, which starts it by itself")
	}
	defer conn.Close()
	stage, ok := conn.(*net.UnixConn)
	var o order
	if !ok || gob.NewDecoder(stage).Decode(&o) != nil {
		return errors.New("this is a part of gatehouse run, which starts it by itself")
	}
	file.Close()
	f := o.run(stage)
	if err := gob.NewEncoder(stage).Encode(f); err != nil {
		return fmt.Errorf("telling gatehouse run that %w: %w", f.error(), err)
	}
	return nil
}

// run does all of it, in order.
func (o order) run(stage *net.UnixConn) failure {
	folder, err := furnish(o.Command.Mount)
	if err != nil {
		return failed("", err)
	}
	_, _, err = stage.WriteMsgUnix([]byte{0}, unix.UnixRights(int(folder.Fd())), nil)
	folder.Close()
	if err != nil {
		return failed("handing out the folder of the files: ", err)
	}
	if _, err := stage.Read(make([]byte, 1)); err != nil {
		return failed("waiting for the files: ", err)
	}
	if err := protect(o.Command.Mount); err != nil {
		return failed("", err)
	}
	if err := hide(o.Command.Hidden); err != nil {
		return failed("", err)
	}
	if o.Alone {
		if err := giveUp(); err != nil {
			return failed("", err)
		}
	}
	if err := o.Command.User.become(); err != nil {
		return failed("", err)
	}
	if err := diesWith(o.Parent); err != nil {
		return failed("", err)
	}
	f := failed("", syscall.Exec(o.Command.Path, o.Command.Args, o.Command.Env))
	f.Exec = true
	return f
}

func failed(doing string, err error) failure {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text := err.Error()
		return failure{Text: doing + text[:len(text)-len(errno.Error())], Errno: errno}
	}
	return failure{Text: doing + err.Error()}
}

// furnish makes an empty folder at the mount point, in memory, and returns it.
func furnish(at string) (*os.File, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("making the mounts private: %w", err)
	}
	if err := place(at); err != nil {
		return nil, err
	}
	err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=1m,mode=0755")
	if err != nil {
		return nil, fmt.Errorf("mounting at %s: %w", at, err)
	}
	folder, err := os.Open(at)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", at, err)
	}
	return folder, nil
}

// place sees to it that there is a folder at the mount point. Where this user
// may not make one, the folder above is copied: another one takes its place
// that has the same in it, and room for one more.
func place(at string) error {
	if err := os.MkdirAll(at, 0o755); err == nil {
		return nil
	}
	above := filepath.Dir(at)
	for {
		info, err := os.Stat(above)
		if err == nil && info.IsDir() {
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for %s: %w", at, err)
		}
		above = filepath.Dir(above)
	}
	real, err := filepath.EvalSymlinks(above)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", at, err)
	}
	if err := double(real); err != nil {
		return fmt.Errorf("making room for %s: %w", at, err)
	}
	return os.MkdirAll(at, 0o755)
}

// scratch is a folder that is covered for a moment.
const scratch = "/tmp"

// double puts a folder in the place of another that has the same in it.
func double(folder string) error {
	covered, err := filepath.EvalSymlinks(scratch)
	if err != nil {
		return err
	}
	if folder == "/" || within(folder, covered) || within(covered, folder) {
		return fmt.Errorf("%s cannot be copied: %w", folder, unix.EPERM)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	mode := fmt.Sprintf("size=1m,mode=%o", info.Mode().Perm())
	if err := unix.Mount("tmpfs", covered, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, mode); err != nil {
		return fmt.Errorf("mounting at %s: %w", covered, err)
	}
	for _, e := range entries {
		if err := same(filepath.Join(folder, e.Name()), filepath.Join(covered, e.Name()), e); err != nil {
			return err
		}
	}
	if err := unix.Mount(covered, folder, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving to %s: %w", folder, err)
	}
	return nil
}

func within(name, above string) bool {
	rel, err := filepath.Rel(above, name)
	return err == nil && filepath.IsLocal(rel)
}

// same makes at to what is at from.
func same(from, to string, e fs.DirEntry) error {
	switch {
	case e.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return gone(err)
		}
		return os.Symlink(target, to)
	case e.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	default:
		file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		file.Close()
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		if gone(err) == nil {
			return os.Remove(to)
		}
		return fmt.Errorf("mounting %s: %w", from, err)
	}
	return nil
}

// gone passes over what has been removed meanwhile.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// protect lets the program read its files and not change them. Who has got the
// folder before may go on.
func protect(at string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount(at, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s once more: %w", at, err)
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", at, err)
	}
	return nil
}

// hide covers files with nothing.
func hide(files []string) error {
	for _, name := range files {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return fmt.Errorf("hiding %s: %w", name, err)
		}
		if err := unix.Mount(os.DevNull, name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hiding %s: %w", name, err)
		}
	}
	return nil
}

// giveUp gives up all capabilities.
func giveUp() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	none := [2]unix.CapUserData{}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// become gives up this user for another one.
func (u *User) become() error {
	if u == nil {
		return nil
	}
	groups := make([]int, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = int(g)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setting groups: %w", err)
	}
	if err := syscall.Setresgid(int(u.GID), int(u.GID), int(u.GID)); err != nil {
		return fmt.Errorf("setting the group: %w", err)
	}
	if err := syscall.Setresuid(int(u.UID), int(u.UID), int(u.UID)); err != nil {
		return fmt.Errorf("setting the user: %w", err)
	}
	return nil
}

// diesWith has the kernel kill this process when its parent is no more. It is
// the last thing, as another user or another thread does not keep it.
func diesWith(parent int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to die with gatehouse run: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("gatehouse run has ended")
	}
	return nil
}
