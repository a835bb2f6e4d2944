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
	// share is the part of a register that the tokens of one namespace may take
	// once it is half full: one in ten.
	share = 10
	// shareEvery is how long the counts by namespace are good. Reading a million
	// entries takes seconds, and is done only if half of them are there.
	shareEvery = 10 * time.Minute
)

// shares are how many entries the accounts of each namespace have, while the
// register is more than half full. The zero value has counted nothing.
type shares struct {
	mu      sync.Mutex
	held    map[string]int64
	counted time.Time
}

// add counts an entry that was written here.
func (s *shares) add(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		s.held[namespace]++
	}
}

// of returns how many entries a namespace has, as far as they are counted.
func (s *shares) of(namespace string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[namespace]
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
	namespace, _, token := e.Account()
	if token {
		most -= most / reserved
	}
	if n >= most {
		return fmt.Errorf("%w: it has %d entries of credentials that have not ended, and %d is the most", ErrFull, n, most)
	}
	if held := r.shares.of(namespace); token && n > r.most/2 && held >= r.most/share {
		return fmt.Errorf("%w for namespace %s: its accounts have %d credentials that have not ended, and %d is the most while others need room",
			ErrFull, namespace, held, r.most/share)
	}
	return nil
}

// countShares counts the entries by namespace, if the register is more than half
// full and they were not counted just now.
func (r *Register) countShares(ctx context.Context) error {
	if r.entries.Load() <= r.most/2 {
		r.shares.set(nil)
		return nil
	}
	if !r.shares.old() {
		return nil
	}
	held := map[string]int64{}
	err := r.store.Each(ctx, func(row ledger.Row) error {
		e, err := read(&row)
		if err != nil {
			return err
		}
		if namespace, _, ok := e.Account(); ok {
			held[namespace]++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("counting the register of credentials by namespace: %w", err)
	}
	r.shares.set(held)
	return nil
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
