package keyset_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/test/oidc"
)

// never says that a key is not there yet, and goes on waiting.
func never() bool { return false }

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		f := follow(t, p, nil)
		defer f.stop()
		set(p, func(p *oidc.Provider) { p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256")) })

		if err := f.Renew(t.Context(), never); err != nil {
			t.Fatal(err)
		}
		// Strangers at the same time share the next look.
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if err := f.Renew(t.Context(), never); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := fetches(p); n != 3 {
			t.Errorf("%d looks, want 3", n)
		}
		if n := f.uses(); n != 2 {
			t.Errorf("keys were put into force %d times, want 2", n)
		}
		// One after the other wait longer and longer while nothing is new, and
		// start anew when something is.
		for i, want := range []int{2, 4, 5, 5, 1, 2} {
			if i == 3 {
				set(p, func(p *oidc.Provider) { p.Keys = append(p.Keys, oidc.NewKey(t, "k3", "ES256")) })
			}
			start := time.Now()
			if err := f.Renew(t.Context(), never); err != nil || time.Since(start) != time.Duration(want)*time.Second {
				t.Errorf("look %d is made after %v, %v; want %d s", i, time.Since(start), err, want)
			}
			if n := fetches(p); n != 4+i {
				t.Errorf("%d looks, want %d", n, 4+i)
			}
		}
		time.Sleep(6 * time.Second)
		start := time.Now()
		if err := f.Renew(t.Context(), never); err != nil || time.Since(start) != 0 {
			t.Errorf("after a while: %v after %v", err, time.Since(start))
		}
	})
}

// Attackers who ask all the time get a look every five seconds, wait with as many
// as there is room for, and keep nobody else from waiting.
func TestRenewUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		f := follow(t, p, func(c *keyset.Config) { c.Peer = peerOf })
		defer f.stop()
		var waiting, crowded atomic.Int64
		var most int64
		start := time.Now()
		for i := range 60_000 {
			go func() {
				waiting.Add(1)
				defer waiting.Add(-1)
				switch err := f.Renew(from(t.Context(), byte(i%8)), never); {
				case errors.Is(err, keyset.ErrCrowded):
					crowded.Add(1)
				case err != nil:
					t.Error(err)
				}
			}()
			if i%2000 == 1999 {
				synctest.Wait()
				most = max(most, waiting.Load())
				time.Sleep(time.Second)
				start := time.Now()
				if err := f.Renew(from(t.Context(), 100), never); err != nil || time.Since(start) > 5*time.Second {
					t.Fatalf("another peer: %v after %v", err, time.Since(start))
				}
			}
		}
		// The first, those at the beginning, and one in five seconds.
		if n, most := fetches(p), 1+4+int(time.Since(start)/(5*time.Second)); n > most {
			t.Errorf("%d looks in %v, want %d at most", n, time.Since(start), most)
		}
		if most != 1024 || crowded.Load() == 0 {
			t.Errorf("%d wait at the same time, %d found no room", most, crowded.Load())
		}
	})
}

type peerKey struct{}

func from(ctx context.Context, peer byte) context.Context {
	return context.WithValue(ctx, peerKey{}, netip.AddrFrom4([4]byte{192, 0, 2, peer}))
}

func peerOf(ctx context.Context) netip.Addr {
	peer, _ := ctx.Value(peerKey{}).(netip.Addr)
	return peer
}

// Who waits for a look of his own goes as soon as the keys are there, by whatever
// look they came.
func TestRenewEndsWithTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		slow := &delayed{RoundTripper: p, by: 3 * time.Second}
		f := follow(t, p, func(c *keyset.Config) { c.Client = keyset.NewClient(slow) })
		defer f.stop()
		time.Sleep(10 * time.Second)
		set(p, func(p *oidc.Provider) { p.Keys = append(p.Keys, oidc.NewKey(t, "k2", "ES256")) })
		go func() { _ = f.Renew(t.Context(), never) }()
		time.Sleep(time.Second)
		start := time.Now()
		if err := f.Renew(t.Context(), func() bool { return f.uses() == 2 }); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v, want that of the look under way after 2s", err, time.Since(start))
		}
		start = time.Now()
		if err := f.Renew(t.Context(), func() bool { return f.uses() == 2 }); err != nil || time.Since(start) != 0 {
			t.Errorf("what is there already: %v after %v", err, time.Since(start))
		}
	})
}

// Who asks while a look is under way that began before gets one of his own: the
// key may have been published since.
func TestRenewDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		slow := &delayed{RoundTripper: p, by: 5 * time.Second}
		f := follow(t, p, func(c *keyset.Config) { c.Client = keyset.NewClient(slow) })
		defer f.stop()
		time.Sleep(6 * time.Second) // the first look reads the keys now
		if err := f.Renew(t.Context(), never); err != nil {
			t.Fatal(err)
		}
		if n := fetches(p); n != 2 {
			t.Errorf("%d looks, want 2", n)
		}
	})
}

type delayed struct {
	http.RoundTripper
	by time.Duration
}

func (d *delayed) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := d.RoundTripper.RoundTrip(r)
	select {
	case <-time.After(d.by):
		return res, err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestRenewEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, issuer)
		f := follow(t, p, func(c *keyset.Config) { c.Client = keyset.NewClient(&delayed{p, time.Hour}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Renew(ctx, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's deadline", err)
		}
		// A provider that never answers is given up after ten seconds.
		time.Sleep(10 * time.Second)
		if err := f.Problem(); err == nil || !strings.Contains(err.Error(), "discovery document") {
			t.Errorf("got %v, want that there was no answer", err)
		}
		f.stop()
		synctest.Wait()
		if err := f.Renew(t.Context(), never); err == nil {
			t.Error("a set that was stopped looked again")
		}
	})
}
