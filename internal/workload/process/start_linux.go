package process

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Process is a program that was started, or is about to be.
type Process struct {
	// Files is the folder at Mount, as seen from here; nil without one. It is the
	// caller's to write to, and to close.
	Files *os.Root

	command  Command
	terminal *terminal
	conn     *net.UnixConn // to the stage; nil without one
	// namespace is the mount namespace of the program; nil without one. Held open,
	// it is nobody else's, even when all that was in it has ended.
	namespace *os.File
	// before are the children that were ours before, with when each began.
	before  map[int]string
	started chan error // what fork returned
	exited  chan Exit
	signals chan os.Signal

	mu   sync.Mutex // held while pid is used, and when it ceases to be ours
	pid  int
	gone bool
}

// Prepare does all that is to be done before the program runs. Whoever has called
// it calls Begin or Abandon.
func Prepare(c Command) (*Process, error) {
	p := &Process{
		command: c, terminal: openTerminal(), started: make(chan error, 1), exited: make(chan Exit, 1),
		signals: make(chan os.Signal, 64),
	}
	var err error
	if p.before, err = childrenOf(os.Getpid()); err != nil {
		return nil, err
	}
	p.listen()
	if c.Mount == "" {
		return p, nil
	}
	if err := p.enter(); err != nil {
		p.Abandon()
		return nil, err
	}
	return p, nil
}

// Begin lets the program run. The error is a *StartError if it is the program
// that cannot be executed.
func (p *Process) Begin() error {
	if p.conn == nil {
		attr := p.attributes()
		if u := p.command.User; u != nil {
			attr.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
		}
		err := p.fork(p.command.Path, p.command.Args, &syscall.ProcAttr{Env: p.command.Env, Files: []uintptr{0, 1, 2}, Sys: attr})
		if err != nil {
			return &StartError{Path: p.command.Path, Err: err}
		}
		go p.relay()
		return nil
	}
	if _, err := p.conn.Write([]byte{0}); err != nil {
		return fmt.Errorf("letting the program run: %w", err)
	}
	// The descriptor closes as the stage becomes the program.
	if err := p.failure(p.conn); err != nil {
		return err
	}
	p.conn.Close()
	go p.relay()
	return nil
}

// Abandon ends what Prepare has begun, where the program does not run.
func (p *Process) Abandon() {
	signal.Stop(p.signals)
	if p.namespace != nil {
		p.namespace.Close()
	}
	if p.Files != nil {
		p.Files.Close()
	}
	if p.conn != nil {
		// The stage ends when nobody is there any more.
		p.conn.Close()
		<-p.exited
	}
	p.terminal.takeFrom(p.pid)
	p.terminal.close()
}

// Wait waits until the program has ended.
func (p *Process) Wait() Exit {
	exit := <-p.exited
	signal.Stop(p.signals)
	close(p.signals)
	p.terminal.takeFrom(p.pid)
	p.terminal.close()
	return exit
}

// Signal sends a signal to the program. To one that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.pid == 0 {
		return nil
	}
	if sig == unix.SIGCONT {
		// All that the terminal has stopped.
		p.terminal.giveTo(p.pid)
		return unix.Kill(-p.pid, sig)
	}
	return unix.Kill(p.pid, sig)
}

// attributes are those of every child: in a process group of its own, so that
// what the terminal sends arrives once, and dead when this process is.
func (p *Process) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if p.terminal.ours() {
		attr.Foreground, attr.Ctty = true, int(p.terminal.file.Fd())
	}
	return attr
}

// fork starts a child, and has it watched until it ends. The thread that starts
// it stays: the kernel takes its end for the parent's.
func (p *Process) fork(path string, args []string, attr *syscall.ProcAttr) error {
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pid, err := syscall.ForkExec(path, args, attr)
		if err == nil {
			p.mu.Lock()
			p.pid = pid
			p.mu.Unlock()
		}
		p.started <- err
		if err == nil {
			p.exited <- p.watch()
		}
	}()
	return <-p.started
}

// watch returns how the child ended, and stops with it meanwhile.
func (p *Process) watch() Exit {
	for {
		// Only looked at, not fetched: until it is, its number is not another's.
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		p.mu.Lock()
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(p.pid, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		ended := err != nil || pid == p.pid && (status.Exited() || status.Signaled())
		p.gone = ended
		p.mu.Unlock()
		switch {
		case ended:
			return Exit{status}
		case pid == p.pid && status.Stopped():
			p.stopped(status.StopSignal())
		}
	}
}

// enter starts the stage, and gets the folder of the files from it.
func (p *Process) enter() error {
	ours, theirs, err := socketPair()
	if err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	defer theirs.Close()
	attr := p.attributes()
	attr.Cloneflags = unix.CLONE_NEWNS
	alone := os.Geteuid() != 0
	if alone {
		// In a user namespace everybody may mount. The user stays who it is.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	err = p.fork("/proc/self/exe", []string{"gatehouse", Stage}, &syscall.ProcAttr{
		Env: []string{}, Files: []uintptr{0, 1, 2, theirs.Fd()}, Sys: attr,
	})
	if err != nil {
		ours.Close()
		return refused(fmt.Errorf("making a mount namespace: %w", err))
	}
	p.conn = ours
	theirs.Close()
	err = gob.NewEncoder(ours).Encode(order{Command: p.command, Parent: os.Getpid(), Alone: alone})
	if err != nil {
		return fmt.Errorf("telling the stage what to start: %w", err)
	}
	folder, said, err := receive(ours)
	if err != nil {
		// What it says is better than that it said nothing else.
		if why := p.failure(io.MultiReader(bytes.NewReader(said), ours)); why != nil {
			return refused(why)
		}
		return refused(&PlaceError{Mount: p.command.Mount, Err: err})
	}
	defer folder.Close()
	if p.namespace, err = os.Open("/proc/" + strconv.Itoa(p.pid) + "/ns/mnt"); err != nil {
		return fmt.Errorf("holding the mount namespace: %w", err)
	}
	if p.Files, err = os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(folder.Fd()))); err != nil {
		return fmt.Errorf("opening the folder of the files: %w", err)
	}
	return nil
}

// refused marks the errors of a system that allows no namespaces.
func refused(err error) error {
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EINVAL, unix.ENOSPC, unix.EUSERS} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrNotAllowed, err)
		}
	}
	return err
}

// failure returns what the stage says went wrong, or nil if it says nothing.
func (p *Process) failure(stage io.Reader) error {
	var f failure
	err := gob.NewDecoder(stage).Decode(&f)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		return nil
	case err != nil:
		return fmt.Errorf("listening to the stage: %w", err)
	case f.Exec:
		return &StartError{Path: p.command.Path, Err: f.error()}
	}
	return &PlaceError{Mount: p.command.Mount, Err: f.error()}
}

// socketPair returns two ends of a connection, of which only a child that is
// given one has it.
func socketPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours := os.NewFile(uintptr(pair[0]), "stage")
	defer ours.Close() // the connection has a descriptor of its own
	theirs := os.NewFile(uintptr(pair[1]), "stage")
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// errSilent is that the stage has ended and not said why, as one that was killed.
var errSilent = errors.New("the stage of it has ended without a word")

// receive gets a descriptor, and nothing else. If something else comes, it
// returns the beginning of that.
func receive(conn *net.UnixConn) (*os.File, []byte, error) {
	one, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := conn.ReadMsgUnix(one, rights)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if n != 1 || one[0] != 0 || m == 0 {
		return nil, one[:n], errSilent
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "files"), nil, nil
}

// KeepNothing sees to it that no descriptor but the three standard ones reaches a
// child: not those either that this process has inherited open.
func KeepNothing() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("closing inherited descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Seal closes the memory, environment and descriptors of this process to others of the
// same user, such as the program, which could read the caller's credentials
// there. It is called after Prepare, which needs to be read once.
func Seal() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing this process to others: %w", err)
	}
	return nil
}
