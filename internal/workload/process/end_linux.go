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
	told, group := p.signalGroup(unix.SIGTERM), p.group()
	left, err := p.members()
	for _, m := range left {
		if m.group != group || !told {
			m.signal(unix.SIGTERM)
		}
		m.signal(unix.SIGCONT) // what is stopped hears nothing
	}
	for deadline := time.Now().Add(patience); len(left) > 0 && time.Now().Before(deadline); {
		time.Sleep(pollEvery)
		left, err = p.members()
	}
	for deadline := time.Now().Add(killing); len(left) > 0 && time.Now().Before(deadline); {
		p.signalGroup(unix.SIGKILL)
		for _, m := range left {
			m.signal(unix.SIGKILL)
		}
		time.Sleep(pollEvery)
		left, err = p.members()
	}
	if err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("process %d (%s) and %d others that the program has started live on", left[0].pid, left[0].name, len(left)-1)
}

// signalGroup sends a signal to the program's process group, as long as the
// program keeps its number from being another's, and reports whether it did.
func (p *Process) signalGroup(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.gone && p.pid != 0 && unix.Kill(-p.pid, sig) == nil
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
	// start is when it began, which tells it from another of its number.
	start, name string
}

// signal sends a signal to a process, unless its number is another's by now.
func (m member) signal(sig syscall.Signal) {
	// It holds on to the process, where the kernel has descriptors for them.
	held, err := os.FindProcess(m.pid)
	if err != nil {
		return
	}
	defer held.Release()
	if now, ok := look(strconv.Itoa(m.pid)); ok && now.start == m.start {
		_ = held.Signal(sig) // who has ended needs none, and who may not be sent one is told of in the end
	}
}

// members returns what has not ended of the program and what it has started.
func (p *Process) members() ([]member, error) {
	every, err := processes()
	if err != nil {
		return nil, err
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
	for _, m := range every {
		children[m.parent] = append(children[m.parent], m)
		// Those that have become ours are in a group of the program's making, and
		// were not ours before. A group of another session has only the same number.
		become := m.parent == self && m.group != ours && p.before[m.pid] != m.start
		if m.group == group && m.session == session || become || p.shares(m.pid) {
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
	return all, nil
}

// processes returns what has not ended on the machine, as far as it can be seen.
func processes() ([]member, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for what the program has started: %w", err)
	}
	var all []member
	for _, e := range entries {
		if m, ok := look(e.Name()); ok {
			all = append(all, m)
		}
	}
	return all, nil
}

// childrenOf returns the children of a process, with when each began.
func childrenOf(parent int) (map[int]string, error) {
	every, err := processes()
	if err != nil {
		return nil, err
	}
	children := map[int]string{}
	for _, m := range every {
		if m.parent == parent {
			children[m.pid] = m.start
		}
	}
	return children, nil
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
	// The fields from the third on, the state (proc(5)).
	fields := strings.Fields(rest[end+1:])
	if len(fields) < 20 {
		return member{}, false
	}
	m := member{pid: number, name: rest[:end], start: fields[19]}
	for i, into := range []*int{&m.parent, &m.group, &m.session} {
		if *into, err = strconv.Atoi(fields[1+i]); err != nil {
			return member{}, false
		}
	}
	return m, fields[0] != "Z" && fields[0] != "X"
}
