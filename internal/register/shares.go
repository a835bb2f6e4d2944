package register

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	// reserved is the part of a full register that no token may take, so that
	// whoever can ask for tokens cannot keep administrators and nodes from theirs:
	// one in ten.
	reserved = 10
	// share is the part of a register that the tokens of one namespace, or the
	// certificates of one user, may take once it is half full: one in ten.
	share = 10
	// shareEvery is how long the counts by namespace are good. Reading a million
	// entries takes seconds, and is done only if half of them are there.
	shareEvery = 10 * time.Minute
)

// shares are how many entries each holder has, while the register is nearly half
// full or more. The zero value has counted nothing.
type shares struct {
	mu      sync.Mutex
	held    map[string]int64
	counted time.Time
}

// add counts an entry that was written here.
func (s *shares) add(holder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		s.held[holder]++
	}
}

// of returns how many entries a holder has, as far as they are counted.
func (s *shares) of(holder string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[holder]
}

// set puts new counts in the place of those before.
func (s *shares) set(held map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.counted = held, time.Now()
}

// old reports whether it is time to count again.
func (s *shares) old() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held == nil || time.Since(s.counted) >= shareEvery
}

// room returns why there is none for an entry, or nil.
func (r *Register) room(e *Entry) error {
	n, most := r.entries.Load(), r.most
	if _, _, token := e.Account(); token {
		most -= most / reserved
	}
	if n >= most {
		return fmt.Errorf("%w: it has %d entries of credentials that have not ended, and %d is the most", ErrFull, n, most)
	}
	if held := r.shares.of(e.holder()); n > r.most/2 && held >= r.most/share {
		return fmt.Errorf("%w for %s: there are %d credentials that have not ended, and %d is the most while others need room",
			ErrFull, e.holder(), held, r.most/share)
	}
	return nil
}

// countShares counts the entries by holder, if the register is half full or will
// be soon, and they were not counted just now. An entry that cannot be read is
// nobody's.
func (r *Register) countShares(ctx context.Context) error {
	if r.entries.Load() < r.most/2-r.most/share {
		r.shares.set(nil)
		return nil
	}
	if !r.shares.old() {
		return nil
	}
	held := map[string]int64{}
	err := r.store.Each(ctx, func(row ledger.Row) error {
		if e, err := read(&row); err == nil {
			held[e.holder()]++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("counting the register of credentials by holder: %w", err)
	}
	r.shares.set(held)
	return nil
}

// holder is who has a share of the register: the accounts of a namespace, or a
// user.
func (e *Entry) holder() string {
	if namespace, _, ok := e.Account(); ok {
		return "namespace " + namespace
	}
	return "user " + e.User
}

// Account returns the service account that the credential is for, if it is a
// token of one.
func (e *Entry) Account() (namespace, name string, ok bool) {
	user, ok := strings.CutPrefix(e.User, identity.ServiceAccountPrefix)
	if !ok || e.Method != identity.ServiceAccount && e.Method != identity.LegacyServiceAccount {
		return "", "", false
	}
	namespace, name, _ = strings.Cut(user, ":")
	return namespace, name, name != ""
}
