package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/rotation"
)

// limit is for how long keys are believed that cannot be read.
const limit = 10 * time.Second

func limited(c *rotation.Config) { c.Limit = limit }

// spoil replaces the document by a text, or undoes that.
func (s *store) spoil(text []byte) (before []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.text = s.text, text
	s.revision++
	return before
}

// TestWithheld says that the keys of a document that cannot be read are believed
// until the limit and not longer, and again once it can be read.
func TestWithheld(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(*store) (mend func())
		want   string
	}{
		{"the store is away", func(s *store) func() { s.set(true); return func() { s.set(false) } }, "down"},
		{"it is no document", func(s *store) func() {
			before := s.spoil([]byte("{"))
			return func() { s.spoil(before) }
		}, "cannot be read"},
		{"a public key is none", func(s *store) func() {
			before := s.spoil([]byte(`{"keys":[{"id":"x","state":"signing","public":"AAAA"}]}`))
			return func() { s.spoil(before) }
		}, "the public half of the signing key x in the store cannot be read"},
		{"no key signs", func(s *store) func() {
			before := s.spoil([]byte(`{"keys":[]}`))
			return func() { s.spoil(before) }
		}, "no key that this process can sign with"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{}
				p := processes(t, s, 1, limited)[0]
				token := sign(t, p, time.Hour)
				time.Sleep(time.Minute)
				synctest.Wait()
				if err := p.Stale(time.Now()); err != nil || !p.accepts(token) {
					t.Fatalf("with a store that answers: %v", err)
				}
				mend := tt.damage(s) // at once after a read
				time.Sleep(limit)
				synctest.Wait()
				if err := p.Stale(time.Now()); err != nil || !p.accepts(token) {
					t.Errorf("at the limit: %v", err)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if err := p.Stale(time.Now()); err == nil || !strings.Contains(err.Error(), tt.want) || p.accepts(token) {
					t.Errorf("past the limit: %v, accepted: %v", err, p.accepts(token))
				}
				if p.Refresh(t.Context()) == nil || p.accepts(token) {
					t.Error("asking for the keys brings them back")
				}
				mend()
				// Who comes with a token of it has not to wait.
				if err := p.Refresh(t.Context()); err != nil || p.Stale(time.Now()) != nil || !p.accepts(token) {
					t.Errorf("when it can be read again: %v, %v", err, p.Stale(time.Now()))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if !p.accepts(token) {
					t.Error("a minute later the keys are withheld again")
				}
			})
		})
	}
}

// TestWithheldWithdrawal says that a key that is withdrawn while the document
// cannot be read is not accepted again with the others.
func TestWithheldWithdrawal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		all := processes(t, s, 2, limited)
		token := sign(t, all[0], time.Hour)
		s.set(true)
		time.Sleep(limit + time.Second)
		s.set(false)
		if _, err := all[1].Withdraw(t.Context(), kid(token)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(limit)
		synctest.Wait()
		for i, p := range all {
			if p.withheld || p.accepts(token) || !p.accepts(sign(t, p, time.Hour)) {
				t.Errorf("process %d: %+v", i, p.gone)
			}
		}
	})
}

// TestServedStale says that there is no limit where none is given.
func TestServedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p := processes(t, s, 1, nil)[0]
		token := sign(t, p, time.Hour)
		s.set(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		if err := p.Stale(time.Now()); err != nil || !p.accepts(token) {
			t.Errorf("without a limit: %v", err)
		}
	})
}
