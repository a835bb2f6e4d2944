package outcall_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/outcall"
)

// A script is a service: what it answers to each request, the last for ever.
type script struct {
	mu     sync.Mutex
	steps  []step
	asked  int
	times  []time.Time
	flying atomic.Int64
	most   atomic.Int64
}

type step struct {
	code   int // 0 is no answer
	header string
	body   string
	after  time.Duration
	err    error
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.flying.Add(1)
	defer s.flying.Add(-1)
	s.mu.Lock()
	s.most.Store(max(s.most.Load(), n))
	step := s.steps[min(s.asked, len(s.steps)-1)]
	s.asked++
	s.times = append(s.times, time.Now())
	s.mu.Unlock()
	select {
	case <-time.After(step.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if step.err != nil {
		return nil, step.err
	}
	h := http.Header{}
	if step.header != "" {
		h.Set("Retry-After", step.header)
	}
	return &http.Response{StatusCode: step.code, Header: h, Body: io.NopCloser(strings.NewReader(step.body))}, nil
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func textLog(to *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

func taken([]byte) error { return nil }

func TestPostAsksAgain(t *testing.T) {
	ok := step{code: 200}
	for _, test := range []struct {
		name  string
		steps []step
		asked int
		err   string
	}{
		{"good", []step{ok}, 1, ""},
		{"created", []step{{code: 201}}, 1, ""},
		{"reset, then good", []step{{err: syscall.ECONNRESET}, ok}, 2, ""},
		{"500, then good", []step{{code: 500}, {code: 500}, ok}, 3, ""},
		{"429, then good", []step{{code: 429}, ok}, 2, ""},
		{"504, then good", []step{{code: 504}, ok}, 2, ""},
		{"503 with leave to try again", []step{{code: 503, header: "1"}, ok}, 2, ""},
		{"400 with leave to try again", []step{{code: 400, header: "1"}, ok}, 2, ""},

		{"500 for ever", []step{{code: 500}}, 5, "status 500"},
		{"reset for ever", []step{{err: syscall.ECONNRESET}}, 5, "reset"},
		{"503", []step{{code: 503}, ok}, 1, "status 503"},
		{"502", []step{{code: 502}, ok}, 1, "status 502"},
		{"400", []step{{code: 400}, ok}, 1, "status 400"},
		{"401", []step{{code: 401}, ok}, 1, "status 401"},
		{"404", []step{{code: 404}, ok}, 1, "status 404"},
		{"redirect", []step{{code: 307}, ok}, 1, "not followed"},
		{"207", []step{{code: 207}, ok}, 1, "status 207"},
		{"refused", []step{{err: syscall.ECONNREFUSED}, ok}, 1, "refused"},
		{"malformed", []step{{err: errors.New("malformed HTTP response")}, ok}, 1, "malformed HTTP response"},
		{"timeout", []step{{after: time.Hour}, ok}, 1, "deadline"},
		{"too long", []step{{code: 200, body: strings.Repeat("x", 1<<20+1)}, ok}, 1, "1 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := &script{steps: test.steps}
				c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(service))
				err := c.Post(t.Context(), []byte("{}"), taken)
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				if service.count() != test.asked {
					t.Errorf("asked %d times, want %d", service.count(), test.asked)
				}
			})
		})
	}
}

func TestPostWaitsBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &script{steps: []step{{code: 500}, {code: 500}, {code: 429, header: "4"}, {code: 503, header: "3600"}, {code: 500}}}
		c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(service))
		_ = c.Post(t.Context(), nil, taken)
		want := []time.Duration{500 * time.Millisecond, 750 * time.Millisecond, 4 * time.Second, 10 * time.Second}
		for i, pause := range want {
			got := service.times[i+1].Sub(service.times[i])
			if got < pause || got > pause*6/5 {
				t.Errorf("pause %d is %v, want %v and up to a fifth more", i, got, pause)
			}
		}
	})
}

func TestErrorOfReadIsFinal(t *testing.T) {
	service := &script{steps: []step{{code: 200, body: "garbage"}}}
	var seen []outcall.Exchange
	c := outcall.New(t.Context(), outcall.Config{Log: quiet(), Observe: func(e outcall.Exchange) { seen = append(seen, e) }}, outcall.NewTestTarget(service))
	bad := errors.New("no JSON")
	for range 20 {
		if err := c.Post(t.Context(), nil, func([]byte) error { return bad }); !errors.Is(err, bad) {
			t.Fatal(err)
		}
	}
	if service.count() != 20 || c.Status().Down {
		t.Errorf("asked %d times, %+v: whoever provokes garbage must not turn others away", service.count(), c.Status())
	}
	if len(seen) != 20 || seen[0].Result != "error" || seen[0].Code != 200 {
		t.Errorf("observed %v", seen)
	}
}

func TestDeadService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &script{steps: []step{{err: syscall.ECONNREFUSED}}}
		var log bytes.Buffer
		c := outcall.New(t.Context(), outcall.Config{Name: "w", Log: textLog(&log)}, outcall.NewTestTarget(service))
		for range 1000 {
			_ = c.Post(t.Context(), nil, taken)
		}
		if service.count() != 5 || !c.Status().Down {
			t.Errorf("a dead service was asked %d times by 1,000 calls, want 5", service.count())
		}
		if err := c.Post(t.Context(), nil, taken); !errors.Is(err, outcall.ErrDown) {
			t.Errorf("error %v, want ErrDown", err)
		}
		// A minute of calls, ten a second: one in five seconds gets through.
		for range 600 {
			time.Sleep(time.Second / 10)
			_ = c.Post(t.Context(), nil, taken)
		}
		if n := service.count() - 5; n < 12 || n > 16 {
			t.Errorf("%d calls got through in a minute", n)
		}
		service.mu.Lock()
		service.steps = []step{{code: 200}}
		service.mu.Unlock()
		for start := time.Now(); c.Post(t.Context(), nil, taken) != nil; time.Sleep(time.Second / 10) {
			if time.Since(start) > 5*time.Second {
				t.Fatal("a service that is back is not asked within 5 s")
			}
		}
		if c.Status().Down || strings.Count(log.String(), "\n") != 2 {
			t.Errorf("status %+v, log %s", c.Status(), log.String())
		}
	})
}

// A service that says it has too much to do is asked on: who causes that must not
// turn others away.
func TestBusyService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &script{steps: []step{{code: 429, header: "1"}}}
		c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(service))
		for range 3 {
			if err := c.Post(t.Context(), nil, taken); err == nil || errors.Is(err, outcall.ErrDown) {
				t.Fatalf("error %v, want that of the answer", err)
			}
		}
		if service.count() != 15 || c.Status().Down {
			t.Errorf("asked %d times, %+v", service.count(), c.Status())
		}
	})
}

// TestSlowService has 1,000 calls of a service that never answers, by many
// peers: no more than MaxCalls are under way, all end, and nothing is left.
func TestSlowService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &script{steps: []step{{after: time.Hour}}}
		c := outcall.New(t.Context(), outcall.Config{Log: quiet(), Peer: peerOf}, outcall.NewTestTarget(service))
		var work sync.WaitGroup
		var late atomic.Int64
		start := time.Now()
		for i := range 1000 {
			work.Go(func() {
				ctx := context.WithValue(t.Context(), peerKey{}, netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)}))
				if err := c.Post(ctx, nil, taken); err == nil {
					t.Error("a call of a service that never answers succeeds")
				}
				if time.Since(start) > outcall.Timeout {
					late.Add(1)
				}
			})
		}
		synctest.Wait()
		if s := c.Status(); s.Calls != outcall.MaxCalls || s.Waiting != 1000-outcall.MaxCalls {
			t.Errorf("status %+v", s)
		}
		work.Wait()
		// Until the fifth has failed, those that fail make room for others.
		if late.Load() > 4 || service.count() > outcall.MaxCalls+4 {
			t.Errorf("%d calls of 1,000 waited for another timeout, %d exchanges", late.Load(), service.count())
		}
		if service.most.Load() > outcall.MaxCalls {
			t.Errorf("%d exchanges, %d at the same time", service.count(), service.most.Load())
		}
		if s := c.Status(); s.Calls != 0 || s.Waiting != 0 || !s.Down {
			t.Errorf("status afterwards %+v", s)
		}
	})
}

type peerKey struct{}

func peerOf(ctx context.Context) netip.Addr {
	peer, _ := ctx.Value(peerKey{}).(netip.Addr)
	return peer
}

// TestPeersTakeTurns has one peer with very many calls, and another with one.
func TestPeersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &script{steps: []step{{after: time.Second, code: 200}}}
		c := outcall.New(t.Context(), outcall.Config{Log: quiet(), Peer: peerOf}, outcall.NewTestTarget(service))
		var work sync.WaitGroup
		for range 20 * outcall.MaxCalls {
			work.Go(func() {
				_ = c.Post(context.WithValue(t.Context(), peerKey{}, netip.MustParseAddr("10.0.0.1")), nil, taken)
			})
		}
		synctest.Wait()
		start := time.Now()
		if err := c.Post(context.WithValue(t.Context(), peerKey{}, netip.MustParseAddr("10.0.0.2")), nil, taken); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the call of a peer took %v behind those of another", took)
		}
		work.Wait()
	})
}

func TestCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		service := &script{steps: []step{{after: time.Hour}}}
		var seen []outcall.Exchange
		c := outcall.New(life, outcall.Config{Log: quiet(), Observe: func(e outcall.Exchange) { seen = append(seen, e) }}, outcall.NewTestTarget(service))
		done := make(chan error)
		waiting, leave := context.WithCancel(t.Context())
		go func() { done <- c.Post(waiting, nil, taken) }()
		synctest.Wait()
		leave() // the exchange goes on: somebody else may wait for its answer
		synctest.Wait()
		if c.Status().Calls != 1 {
			t.Error("an exchange ended because one stopped waiting")
		}
		end()
		if err := <-done; err == nil || len(seen) != 1 || seen[0].Result != "canceled" {
			t.Errorf("error %v, observed %v", err, seen)
		}
		if c.Status().Down {
			t.Error("an exchange that we ended counts against the service")
		}
	})
}

func TestUseAnotherTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, alive := &script{steps: []step{{err: syscall.ECONNREFUSED}}}, &script{steps: []step{{code: 200}}}
		c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(dead))
		for range 9 {
			_ = c.Post(t.Context(), nil, taken)
		}
		c.Use(outcall.NewTestTarget(alive))
		if err := c.Post(t.Context(), nil, taken); err != nil || alive.count() != 1 {
			t.Errorf("error %v: what is known of one service must not count for another", err)
		}
	})
}

func TestErrorsTellNothingOfAnAnswer(t *testing.T) {
	for _, s := range []step{{code: 500, body: "hunter2"}, {code: 403, body: "hunter2"}, {code: 302, body: "hunter2"}, {code: 200, body: strings.Repeat("hunter2", 1<<18)}} {
		synctest.Test(t, func(t *testing.T) {
			c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(&script{steps: []step{s}}))
			if err := c.Post(t.Context(), []byte("hunter2"), taken); err == nil || strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("%d: %.200v", s.code, err)
			}
		})
	}
}
