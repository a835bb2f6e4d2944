package password

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"gatehouse.dev/gatehouse/internal/passhash"
	"gatehouse.dev/gatehouse/internal/reload"
)

// A Source is a file of passwords that is followed.
type Source struct {
	path   string
	file   *reload.File[*reading]
	groups *Groups // or nil
	notify func(error)

	mu      sync.Mutex // held by who changes current
	current atomic.Pointer[accounts]
}

// A reading is what a file says. What it says of groups may stand elsewhere.
type reading struct {
	lines    []line
	decoys   []decoy
	warnings []string
}

// A line is what a file says of one user.
type line struct {
	name, uid string
	groups    []string
	where     string
	hash      hash
	work      passhash.Work
	print     string
}

// A decoy is a hash of no password: to compare with it takes the same work.
type decoy struct {
	work passhash.Work
	hash hash
}

// accounts are what is in force.
type accounts struct {
	accounts map[string]*account
	decoys   []decoy
	warnings []string
}

// open opens a source whose file is read by parse.
func open(path string, groups *Groups, parse func([]byte) (*reading, error), notify func(error)) (*Source, error) {
	s := &Source{path: path, groups: groups, notify: notify}
	s.current.Store(&accounts{})
	file, err := reload.Open(path, parse, s.changed)
	if err != nil {
		return nil, err
	}
	s.file = file
	if groups != nil {
		groups.tell(s.build)
	}
	s.build()
	return s, nil
}

// Run follows the file until ctx ends.
func (s *Source) Run(ctx context.Context) { s.file.Run(ctx) }

// Status returns how reading the file has gone so far.
func (s *Source) Status() reload.Status { return s.file.Status() }

// Warnings returns what is odd but allowed in the file as it is in force.
func (s *Source) Warnings() []string { return slices.Clone(s.current.Load().warnings) }

func (s *Source) changed(problem error) {
	if problem == nil {
		s.build()
	}
	if s.notify != nil {
		s.notify(problem)
	}
}

// build puts in force what the files say now. What was verified for an account
// that is gone or another one is forgotten; the others are left alone.
func (s *Source) build() {
	s.mu.Lock()
	defer s.mu.Unlock()
	read, before := s.file.Value(), s.current.Load()
	members := s.groups.members()
	next := &accounts{accounts: make(map[string]*account, len(read.lines)), decoys: read.decoys, warnings: slices.Clone(read.warnings)}
	for i := range read.lines {
		l := &read.lines[i]
		groups := l.groups
		if s.groups != nil {
			groups = members[l.name]
		}
		a := newAccount(s.path, l, groups)
		if old := before.accounts[l.name]; old != nil && old.says(a) {
			a = old
		}
		next.accounts[l.name] = a
	}
	for name := range members {
		if next.accounts[name] == nil {
			next.warnings = append(next.warnings, fmt.Sprintf("%s names user %q, who is not in this file", s.groups.path, name))
		}
	}
	slices.Sort(next.warnings[len(read.warnings):])
	s.current.Store(next)
	for name, old := range before.accounts {
		if next.accounts[name] != old {
			old.inForce.Bump()
		}
	}
}
