package durability_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/test/env"
)

// TestManyRevocations puts so many into the store that a start has to read them
// all, and holds the start to all of them: not one request is answered before.
func TestManyRevocations(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	many := 300
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		many = 100_000
	}
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	token := c.token(t, "default", "default")
	// So many writes at once may be more than the watch of a busy machine follows:
	// then the server refuses everybody until it does.
	var late atomic.Int64
	revoke := func(name string, spec v1alpha1.RevocationSpec) error {
		for {
			err := c.do(t.Context(), "POST", "/apis/gatehouse.dev/v1alpha1/revocations",
				&v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, nil)
			if !isRefused(err, http.StatusServiceUnavailable) {
				return err
			}
			if late.Add(1) == 1 {
				t.Logf("refused for the first time: %v", err)
			}
			time.Sleep(time.Second)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	oldest := make(chan time.Duration, 1)
	go func() { oldest <- c.oldestProof(ctx) }()
	began := time.Now()
	var next atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for n := next.Add(1); n <= int64(many); n = next.Add(1) {
				err := revoke(fmt.Sprint("token-", n), v1alpha1.RevocationSpec{Token: &v1alpha1.RevokedToken{Issuer: "https://idp.example.org", JTI: fmt.Sprint(n)}})
				if err != nil {
					t.Errorf("revoking %d: %v", n, err)
					return
				}
			}
		})
	}
	work.Wait()
	cancel()
	t.Logf("%d were made in %v; meanwhile a proof of freshness was up to %v old, and %d requests were told to come later",
		many, time.Since(began).Round(time.Millisecond), <-oldest, late.Load())
	last := v1alpha1.RevocationSpec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "default", Name: "default"}}
	if err := revoke("zzz", last); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	s.Restart()
	t.Logf("restarted with them in %v", time.Since(began).Round(time.Millisecond))
	if err := withToken(t, s.Kubeconfig, "", token).letIn(t.Context()); !isRefused(err, http.StatusUnauthorized) {
		t.Errorf("the first request after the start is answered with %v", err)
	}
}

// oldestProof returns how old a proof of what the server knows of its store was at
// most, until ctx ends.
func (c *client) oldestProof(ctx context.Context) (oldest time.Duration) {
	for tick := time.Tick(200 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return oldest
		case <-tick:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/metrics", nil)
		if err != nil {
			return -1
		}
		response, err := c.http.Do(request)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			text, found := strings.CutPrefix(lines.Text(), "gatehouse_store_staleness_seconds ")
			if seconds, err := strconv.ParseFloat(text, 64); found && err == nil {
				oldest = max(oldest, time.Duration(seconds*float64(time.Second)))
			}
		}
		response.Body.Close()
	}
}
