package outcall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/authz"
	authzhook "gatehouse.dev/gatehouse/authz/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/outcall"
)

// A watched service counts what it is asked at the same time, by what that is.
type watched struct {
	answer func(*http.Request) (*http.Response, error)
	mu     sync.Mutex
	flying map[string]int
	asked  int
	twice  bool
}

func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.asked++
	w.flying[string(body)]++
	w.twice = w.twice || w.flying[string(body)] > 1
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.flying[string(body)]--
	}()
	return w.answer(r)
}

// Whatever a webhook does when it is asked about tokens or about access: it is
// asked the same thing once at a time, everybody has an answer in the end, and
// nothing is left running.
func TestWebhookThatMisbehaves(t *testing.T) {
	const questions, callers = 400, 4
	nonsense := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>\x00"))}, nil
	}
	for what, open := range map[string]func(*testing.T, *outcall.Client) func(ctx context.Context, n int) bool{
		"tokens": askAboutTokens, "access": askAboutAccess,
	} {
		for how, answer := range map[string]func(*http.Request) (*http.Response, error){
			"slow": func(r *http.Request) (*http.Response, error) {
				select {
				case <-time.After(30 * time.Second):
					return nonsense(r)
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			},
			"dead":    func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
			"garbage": nonsense,
		} {
			t.Run(what+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					service := &watched{answer: answer, flying: map[string]int{}}
					c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(service))
					ask := open(t, c)
					before := running()
					start := time.Now()
					var work sync.WaitGroup
					for i := range questions * callers {
						ctx, leave := context.WithCancel(t.Context())
						if i%callers == 0 {
							time.AfterFunc(time.Second, leave)
						}
						work.Go(func() {
							defer leave()
							if ask(ctx, i%questions) {
								t.Error("nonsense lets somebody in")
							}
						})
					}
					work.Wait()
					// Two turns: there are more questions than may be asked at once.
					if took := time.Since(start); took > 61*time.Second {
						t.Errorf("somebody waits for %v", took)
					}
					if service.twice || service.asked == 0 {
						t.Errorf("asked %d times, the same twice at a time: %t", service.asked, service.twice)
					}
					time.Sleep(time.Minute) // what has begun ends
					synctest.Wait()
					if after := running(); after > before {
						t.Errorf("%d goroutines before, %d after", before, after)
					}
					if s := c.Status(); s.Calls != 0 || s.Waiting != 0 {
						t.Errorf("status afterwards %+v", s)
					}
				})
			})
		}
	}
}

func askAboutTokens(t *testing.T, c *outcall.Client) func(context.Context, int) bool {
	t.Helper()
	v, err := webhook.New(webhook.Config{Ask: c.Post, Version: "v1", Audiences: []string{"a"}, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, n int) bool {
		_, err := v.VerifyToken(ctx, fmt.Sprint("token-", n), nil)
		return err == nil
	}
}

func askAboutAccess(t *testing.T, c *outcall.Client) func(context.Context, int) bool {
	t.Helper()
	w, err := authzhook.New(authzhook.Config{Ask: c.Post, Version: "v1", Allowed: time.Minute, Denied: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, n int) bool {
		answer, err := w.Authorize(ctx, &authz.Attributes{
			User: &identity.Identity{Name: fmt.Sprint("user-", n)}, IsResource: true, Verb: "get", APIVersion: "v1", Resource: "pods",
		})
		return err == nil || answer.Verdict == authz.Allow
	}
}

// running counts the goroutines of the bubble that a test is in.
func running() int {
	text := make([]byte, 1<<20)
	return strings.Count(string(text[:runtime.Stack(text, true)]), "synctest bubble")
}
