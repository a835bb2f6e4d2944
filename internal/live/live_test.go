package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/live"
)

// A credential is one that can be asked about again.
type credential struct {
	rests authn.Generation
	until time.Time
	who   *identity.Identity
	asked atomic.Int32

	mu  sync.Mutex
	err error
	// slow is how long an answer takes.
	slow time.Duration
}

func of(name string) *credential {
	return &credential{who: &identity.Identity{
		Name: name, Groups: []string{"a", "b"}, Credential: identity.Credential{Method: identity.StaticToken},
	}}
}

func (c *credential) result() *authn.Result {
	return &authn.Result{Identity: c.who, Until: c.until, Rests: []authn.Stamp{c.rests.Stamp()}}
}

// becomes changes what is said of the credential from now on.
func (c *credential) becomes(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	c.rests.Bump()
}

func (c *credential) again(ctx context.Context) (*authn.Result, error) {
	c.asked.Add(1)
	c.mu.Lock()
	err, slow, res := c.err, c.slow, c.result()
	c.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// stay is the request of somebody with the credential, whose cuts are counted.
func (c *credential) stay(cuts *atomic.Int32) live.Stay {
	return live.Stay{Who: c.who, Result: c.result(), Again: c.again, Cut: func() { cuts.Add(1) }}
}

// run runs a registry until the test ends, within a bubble.
func run(t *testing.T, judge func(*identity.Identity) error) *live.Registry {
	t.Helper()
	r := live.New(live.Config{Judge: judge, Patience: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// kindOf returns why a request was ended, or "".
func kindOf(q *live.Request) string {
	if why := q.Ending(); why != nil {
		return why.Kind.String()
	}
	return ""
}

func refusal(kind authn.Kind) error {
	return authn.Refuse(identity.StaticToken, kind, "it is not good")
}

// A stream ends within a second of what let its caller in, and no sooner.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*credential)
		want   string
		code   int32
	}{
		{"nothing happens", func(*credential) {}, "", 0},
		{"a change that is about others", func(c *credential) { c.rests.Bump() }, "", 0},
		{"the line is gone", func(c *credential) { c.becomes(func() { c.err = refusal(authn.Unknown) }) }, "withdrawn", 401},
		{"the object is gone", func(c *credential) { c.becomes(func() { c.err = refusal(authn.Revoked) }) }, "withdrawn", 401},
		{"an error without a kind", func(c *credential) { c.becomes(func() { c.err = errors.New("no") }) }, "withdrawn", 401},
		{"nobody knows it", func(c *credential) { c.becomes(func() { c.err = authn.ErrNoCredential }) }, "withdrawn", 401},
		{"another name", func(c *credential) { c.becomes(func() { c.who = of("joe").who }) }, "changed", 410},
		{"another UID", func(c *credential) {
			c.becomes(func() { w := *c.who; w.UID = "2"; c.who = &w })
		}, "changed", 410},
		{"a group less", func(c *credential) {
			c.becomes(func() { w := *c.who; w.Groups = w.Groups[:1]; c.who = &w })
		}, "changed", 410},
		{"another group", func(c *credential) {
			c.becomes(func() { w := *c.who; w.Groups = []string{"a", "c"}; c.who = &w })
		}, "changed", 410},
		{"groups in another order", func(c *credential) {
			c.becomes(func() { w := *c.who; w.Groups = []string{"b", "a"}; c.who = &w })
		}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, c, cuts := run(t, nil), of("jane"), new(atomic.Int32)
				q := r.Join(c.stay(cuts))
				time.Sleep(5 * time.Second)
				if got := kindOf(q); got != "" {
					t.Fatalf("before anything happened it has ended: %s", got)
				}
				tt.change(c)
				time.Sleep(time.Second)
				if got := kindOf(q); got != tt.want {
					t.Errorf("ended: %q, want %q", got, tt.want)
				}
				if why := q.Ending(); why != nil && (why.Status().Code != tt.code || why.Status().Message == "") {
					t.Errorf("status %+v", why.Status())
				}
				q.Leave()
			})
		})
	}
}

// When its time is over a credential is asked about again, because its time may
// be that of what is remembered of it.
func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c, cuts := run(t, nil), of("jane"), new(atomic.Int32)
		c.until = time.Now().Add(time.Minute)
		q := r.Join(c.stay(cuts))
		time.Sleep(59 * time.Second)
		if c.asked.Load() != 0 || q.Ending() != nil {
			t.Error("it was asked about too early")
		}
		c.mu.Lock()
		c.until = time.Now().Add(time.Minute)
		c.mu.Unlock()
		time.Sleep(2 * time.Second)
		if c.asked.Load() != 1 || q.Ending() != nil {
			t.Errorf("asked %d times, ended: %q", c.asked.Load(), kindOf(q))
		}
		c.mu.Lock()
		c.err = refusal(authn.Expired)
		c.mu.Unlock()
		time.Sleep(time.Minute)
		if got := kindOf(q); got != "expired" {
			t.Errorf("ended: %q", got)
		}
		q.Leave()
	})
}

// The judge is asked when somebody joins and when he may have another opinion.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revoked atomic.Value
		revoked.Store("nobody")
		r := run(t, func(who *identity.Identity) error {
			for ; who != nil; who = who.Impersonator {
				if who.Name == revoked.Load() {
					return fmt.Errorf("%s is revoked", who.Name)
				}
			}
			return nil
		})
		cuts := new(atomic.Int32)
		jane, joe := of("jane"), of("joe")
		acting := jane.stay(cuts)
		acting.Who = &identity.Identity{Name: "robot", Impersonator: jane.who}
		streams := []*live.Request{r.Join(jane.stay(cuts)), r.Join(joe.stay(cuts)), r.Join(acting)}
		revoked.Store("jane")
		r.Rejudge()
		synctest.Wait()
		for i, want := range []string{"revoked", "", "revoked"} {
			if got := kindOf(streams[i]); got != want {
				t.Errorf("stream %d ended: %q, want %q", i, got, want)
			}
		}
		late := r.Join(jane.stay(cuts))
		if kindOf(late) != "revoked" {
			t.Error("who is revoked could join")
		}
		for _, q := range append(streams, late) {
			q.Leave()
		}
	})
}

// What cannot be judged goes on for a while, and what a second authenticator
// cannot say does not make good what the first refuses.
func TestUnjudged(t *testing.T) {
	other := &authn.Refusal{Method: identity.Webhook, Reason: "does not answer", Facts: authn.Facts{Kind: authn.Unavailable}}
	for _, tt := range []struct {
		name  string
		err   error
		slow  time.Duration
		after time.Duration // at which it has ended
	}{
		{"unavailable", refusal(authn.Unavailable), 0, 12 * time.Second},
		{"throttled", refusal(authn.Throttled), 0, 12 * time.Second},
		{"no answer", nil, time.Hour, 15 * time.Second},
		{"refused, and somebody else is unavailable", errors.Join(refusal(authn.Unknown), other), 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, c, cuts := run(t, nil), of("jane"), new(atomic.Int32)
				q := r.Join(c.stay(cuts))
				c.becomes(func() { c.err, c.slow = tt.err, tt.slow })
				time.Sleep(tt.after)
				if q.Ending() == nil {
					t.Errorf("it goes on after %v", tt.after)
				}
				q.Leave()

				if tt.after < 10*time.Second {
					return
				}
				q = r.Join(c.stay(cuts))
				c.becomes(func() {})
				time.Sleep(8 * time.Second)
				if q.Ending() != nil {
					t.Error("it ended at once")
				}
				c.mu.Lock()
				c.err, c.slow = nil, 0
				c.mu.Unlock()
				time.Sleep(time.Minute)
				if q.Ending() != nil {
					t.Errorf("it ended though it is good again: %v", q.Ending())
				}
				q.Leave()
			})
		})
	}
}

// Who does not leave when told is cut off, once; who has left never is.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c, cuts := run(t, nil), of("jane"), new(atomic.Int32)
		stuck, gone := r.Join(c.stay(cuts)), r.Join(c.stay(cuts))
		go func() { <-gone.Ended(); gone.Leave() }()
		why := live.Ending{Kind: live.Stale, Err: errors.New("no proof")}
		r.End(why)
		r.End(live.Ending{Kind: live.Revoked, Err: errors.New("another reason")})
		time.Sleep(10 * time.Second)
		if cuts.Load() != 1 {
			t.Errorf("cut %d times", cuts.Load())
		}
		if *stuck.Ending() != why {
			t.Errorf("ended: %v", stuck.Ending())
		}
		stuck.Leave()
		stuck.Leave()
		if got := r.Stats(); got.Open != 0 || got.Ended["stale"] != 2 || got.Ended["revoked"] != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// One question is asked for all streams of a result, and few at a time.
func TestNoHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, cuts := run(t, nil), new(atomic.Int32)
		var at, most atomic.Int32
		var rests authn.Generation
		var streams []*live.Request
		for n := range 100 {
			c := of(fmt.Sprint(n))
			res := &authn.Result{Identity: c.who, Rests: []authn.Stamp{rests.Stamp()}}
			for range 10 {
				streams = append(streams, r.Join(live.Stay{Who: c.who, Result: res, Cut: func() {}, Again: func(context.Context) (*authn.Result, error) {
					most.Store(max(most.Load(), at.Add(1)))
					defer at.Add(-1)
					time.Sleep(10 * time.Millisecond)
					cuts.Add(1)
					if n < 3 {
						return nil, refusal(authn.Unknown)
					}
					return &authn.Result{Identity: c.who, Rests: []authn.Stamp{rests.Stamp()}}, nil
				}}))
			}
		}
		rests.Bump()
		time.Sleep(time.Second)
		if cuts.Load() != 100 || most.Load() != 8 {
			t.Errorf("%d questions, %d at a time; want 100 and 8", cuts.Load(), most.Load())
		}
		for i, q := range streams {
			if ended := q.Ending() != nil; ended != (i < 30) {
				t.Errorf("stream %d ended: %v", i, ended)
			}
			q.Leave()
		}
	})
}

// Streams come and go while they are looked at and ended.
func TestConcurrent(t *testing.T) {
	var revoked atomic.Bool
	r := live.New(live.Config{Patience: time.Second, Log: slog.New(slog.DiscardHandler), Judge: func(*identity.Identity) error {
		if revoked.Load() {
			return errors.New("revoked")
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	c, cuts := of("jane"), new(atomic.Int32)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			var mine []*live.Request
			for n := range 2000 {
				mine = append(mine, r.Join(c.stay(cuts)))
				if n%3 == 0 {
					mine[n/2].Leave()
				}
				if n%100 == 0 {
					c.rests.Bump()
					r.Rejudge()
				}
			}
			revoked.Store(true)
			r.Rejudge()
			for _, q := range mine {
				q.Leave()
			}
		})
	}
	work.Wait()
	cancel()
	<-done
	if got := r.Stats().Open; got != 0 {
		t.Errorf("%d are open", got)
	}
}
