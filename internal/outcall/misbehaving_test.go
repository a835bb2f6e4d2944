package outcall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/authz"
	authzhook "gatehouse.dev/gatehouse/authz/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/test/turncoat"
)

// Whatever a webhook does when it is asked about tokens or about access: it is
// asked the same thing once at a time, everybody has an answer in the end, and
// nothing is left running.
func TestWebhookThatMisbehaves(t *testing.T) {
	const questions, callers = 400, 4
	for what, open := range map[string]func(*testing.T, *outcall.Client) func(ctx context.Context, n int) bool{
		"tokens": askAboutTokens, "access": askAboutAccess,
	} {
		for how, answer := range map[string]turncoat.Answer{
			"slow": turncoat.Slow(30*time.Second, "<html>"), "dead": turncoat.Dead, "garbage": turncoat.Garbage,
		} {
			t.Run(what+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					service := &turncoat.Service{Key: func(r *http.Request) string {
						body, err := io.ReadAll(r.Body)
						if err != nil || len(body) == 0 {
							t.Errorf("asked for %q, %v", body, err)
						}
						return string(body)
					}}
					service.Behave(answer)
					c := outcall.New(t.Context(), outcall.Config{Log: quiet()}, outcall.NewTestTarget(service))
					ask := open(t, c)
					before := turncoat.Running()
					start := time.Now()
					work := turncoat.Crowd(t.Context(), questions, callers, func(ctx context.Context, n int) {
						if ask(ctx, n) {
							t.Error("nonsense lets somebody in")
						}
					})
					work.Wait()
					// Two turns: there are more questions than may be asked at once.
					if took := time.Since(start); took > 61*time.Second {
						t.Errorf("somebody waits for %v", took)
					}
					if n := service.Counts(); n.Twice != "" || n.Asked == 0 {
						t.Errorf("asked %d times, twice at a time for %q", n.Asked, n.Twice)
					}
					turncoat.Settle(t, before)
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
