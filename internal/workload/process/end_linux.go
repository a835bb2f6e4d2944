package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollEvery is how often is looked whether there is anything left.
	pollEvery = 50 * time.Millisecond
	// killing is how long what was killed may take to be gone.
	killing = 2 * time.Second
)

// End ends the program and all that it has started, in its process group or in
// others: what is in its mount namespace, and what descends from it. They get
// SIGTERM, and what is left after patience gets SIGKILL. It returns when nothing
// is left, or an error that says what could not be ended.
func (p *Process) End(patience time.Duration) error {
	// What loses its parent from here on becomes ours, and is not lost to us.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("looking after the children of the program: %w", err)
	}
	p.signalGroup(unix.SIGTERM)
	group := p.group()
	for _, m := range p.members() {
		if m.group != group {
			m.signal(unix.SIGTERM)
		}
		m.signal(unix.SIGCONT) // what is stopped hears nothing
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pollEvery) {
		if len(p.members()) == 0 {
			return nil
		}
	}
	var left []member
	for deadline := time.Now().Add(killing); time.Now().Before(deadline); time.Sleep(pollEvery) {
		p.signalGroup(unix.SIGKILL)
		if left = p.members(); len(left) == 0 {
			return nil
		}
		for _, m := range left {
			m.signal(unix.SIGKILL)
		}
	}
	return fmt.Errorf("process %d (%s) and %d others that the program has started live on", left[0].pid, left[0].name, len(left)-1)
}

// signalGroup sends a signal to the program's process group, as long as the
// program keeps its number from being another's.
func (p *Process) signalGroup(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && p.pid != 0 {
		_ = unix.Kill(-p.pid, sig) // it fails only for a group that is gone
	}
}

// group is the number of the program's process group.
func (p *Process) group() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// A member is a process that belongs to a program.
type member struct {
	pid, parent, group, session int
	name                        string
}

// signal sends a signal to a process, unless its number is another's by now.
func (m member) signal(sig syscall.Signal) {
	// It holds on to the process, where the kernel has descriptors for them.
	held, err := os.FindProcess(m.pid)
	if err != nil {
		return
	}
	defer held.Release()
	if now, ok := look(strconv.Itoa(m.pid)); ok && now.group == m.group && now.session == m.session {
		_ = held.Signal(sig) // who has ended needs none, and who may not be sent one is told of in the end
	}
}

// members returns what has not ended of the program and what it has started.
func (p *Process) members() []member {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	group, self := p.group(), os.Getpid()
	ours, session := unix.Getpgrp(), 0
	if s, err := unix.Getsid(0); err == nil {
		session = s
	}
	children, found := map[int][]member{}, map[int]member{}
	var add func(member)
	add = func(m member) {
		if _, known := found[m.pid]; known || m.pid == self {
			return
		}
		found[m.pid] = m
		for _, child := range children[m.pid] {
			add(child)
		}
	}
	var first []member
	for _, e := range entries {
		m, ok := look(e.Name())
		if !ok {
			continue
		}
		children[m.parent] = append(children[m.parent], m)
		// Those that have become ours are in a group of the program's making. A
		// group of another session has only the same number.
		if m.group == group && m.session == session || m.parent == self && m.group != ours || p.shares(m.pid) {
			first = append(first, m)
		}
	}
	for _, m := range first {
		add(m)
	}
	all := make([]member, 0, len(found))
	for _, m := range found {
		all = append(all, m)
	}
	return all
}

// shares reports whether a process is in the program's mount namespace.
func (p *Process) shares(pid int) bool {
	if p.namespace == nil {
		return false
	}
	theirs, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if err != nil {
		return false // it is gone, or somebody else's
	}
	ours, err := p.namespace.Stat()
	return err == nil && os.SameFile(ours, theirs)
}

// look reads what there is to know of a process that has not ended.
func look(pid string) (member, bool) {
	number, err := strconv.Atoi(pid)
	if err != nil {
		return member{}, false
	}
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return member{}, false
	}
	// The name is in parentheses, and may hold any character.
	_, rest, _ := strings.Cut(string(text), "(")
	end := strings.LastIndexByte(rest, ')')
	if end < 0 {
		return member{}, false
	}
	m := member{pid: number, name: rest[:end]}
	var state string
	if _, err := fmt.Sscan(rest[end+1:], &state, &m.parent, &m.group, &m.session); err != nil {
		return member{}, false
	}
	return m, state != "Z" && state != "X"
}
