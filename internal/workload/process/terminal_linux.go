package process

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A terminal is the one that controls this process; nil is none. While the
// program is in the foreground, what is typed goes to it alone: a Ctrl-C arrives
// once.
type terminal struct{ file *os.File }

func openTerminal() *terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return &terminal{file}
}

func (t *terminal) close() {
	if t != nil {
		t.file.Close()
	}
}

// foreground returns the process group in the foreground, or 0.
func (t *terminal) foreground() int {
	if t == nil {
		return 0
	}
	group, err := unix.IoctlGetInt(int(t.file.Fd()), unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// ours reports whether this process is in the foreground.
func (t *terminal) ours() bool { return t != nil && t.foreground() == unix.Getpgrp() }

// giveTo puts a process group into the foreground, if this one is there.
func (t *terminal) giveTo(group int) {
	if t.ours() {
		t.put(group)
	}
}

// takeFrom puts this process back into the foreground, if the group is there.
func (t *terminal) takeFrom(group int) {
	if t != nil && group != 0 && t.foreground() == group {
		t.put(unix.Getpgrp())
	}
}

// put works from the background too, where the kernel would stop who tries it
// with the signal unblocked. That it fails means that the terminal is gone.
func (t *terminal) put(group int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGTTOU - 1)
	if unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old) != nil {
		return
	}
	_ = unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, group)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
}

// stopped stops this process and its group as the program was, so that the shell
// it was started from has the terminal again. Where there is no terminal nobody
// waits for that, and where there is no shell nobody would continue it.
func (p *Process) stopped(by syscall.Signal) {
	if p.terminal == nil {
		return
	}
	if (by == unix.SIGTTIN || by == unix.SIGTTOU) && p.inForeground() {
		// It wanted the terminal in the background, and has been put into the
		// foreground since, where nothing is stopped for that.
		p.terminal.giveTo(p.pid)
		_ = p.Signal(unix.SIGCONT)
		return
	}
	p.terminal.takeFrom(p.pid)
	if !continuable() {
		_ = p.Signal(unix.SIGCONT)
		return
	}
	// What continues this process is passed on. SIGTSTP, which the kernel would
	// keep from a group that nobody continues, is lost in Go once it was notified.
	_ = unix.Kill(0, unix.SIGSTOP)
}

// inForeground reports whether this process or the program is in the foreground.
func (p *Process) inForeground() bool {
	group := p.terminal.foreground()
	return group == unix.Getpgrp() || group == p.pid
}

// continuable reports whether this process was started by one of its session that
// is in another group, as a shell is: whether the group is no orphan.
func continuable() bool {
	group := unix.Getpgrp()
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	for pid := os.Getppid(); pid > 0; {
		if s, err := unix.Getsid(pid); err != nil || s != session {
			return false
		}
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			return err == nil
		}
		if pid, err = parent(pid); err != nil {
			return false
		}
	}
	return false
}

// parent returns the process that has started another.
func parent(pid int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\nPPid:\t")
	number, _, _ := strings.Cut(after, "\n")
	return strconv.Atoi(number)
}

// listen begins to keep the signals that are the program's. Those that this
// process was told to ignore, as by nohup, stay ignored by both.
func (p *Process) listen() {
	for _, sig := range []os.Signal{
		unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGALRM, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT,
	} {
		if !signal.Ignored(sig) {
			signal.Notify(p.signals, sig)
		}
	}
}

// relay passes signals on until there are no more.
func (p *Process) relay() {
	for sig := range p.signals {
		if s, ok := sig.(syscall.Signal); ok {
			_ = p.Signal(s) // it fails only for a program that has ended
		}
	}
}
