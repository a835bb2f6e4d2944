package durability_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

// spread is how long another process may take to hear that a key was withdrawn.
const spread = time.Second

// A issued token, and the key that signed it.
type issuedToken struct{ text, kid string }

// A keyWorld is three processes on one etcd whose keys rotate.
type keyWorld struct {
	t        *testing.T
	replicas []*replica

	mu        sync.Mutex
	tokens    []issuedToken
	withdrawn map[string]time.Time // by kid: when the request was answered
	asked     map[string]time.Time // by kid: when it was sent

	made, good, bad atomic.Int64
}

// TestKeyRotation rotates the key that signs tokens again and again while three
// processes issue and review: no good token is refused, none of a key that was
// withdrawn is accepted. A hundred times by night.
func TestKeyRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	rounds := 3
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		rounds = 100
	}
	w := rotatingWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for i := range w.replicas {
		load.Go(func() { w.issue(ctx, i) })
		load.Go(func() { w.review(ctx) })
	}
	// The keys whose tokens are good, the one that signs last. A process is not
	// asked: it may be a moment behind the one that rotated.
	keys := []string{w.signing(w.replicas[0])}
	for n := range rounds {
		keys = append(keys, w.rotate(w.replicas[n%3]))
		other := w.replicas[(n+1)%3]
		switch {
		case n == rounds-1: // the one that signs
			w.withdraw(other, keys[len(keys)-1])
		case n%2 == 1:
			w.withdraw(other, keys[0])
			keys = keys[1:]
		}
		if t.Failed() {
			break
		}
	}
	stop()
	load.Wait()
	t.Logf("%d tokens made; %d reviews found one good, %d bad", w.made.Load(), w.good.Load(), w.bad.Load())
	if w.made.Load() < 10 || w.good.Load() < 10 || w.bad.Load() == 0 {
		t.Errorf("there was no load")
	}
}

// rotatingWorld rotates the key of an embedded store, moves it to a cluster, and
// serves it with three processes that have no file with a signing key.
func rotatingWorld(t *testing.T) *keyWorld {
	const issuer = "--service-account-issuer=gatehouse" // nobody keeps its keys
	etcds := startCluster(t, 3)
	s := env.Start(t, issuer)
	w := &keyWorld{t: t, withdrawn: map[string]time.Time{}, asked: map[string]time.Time{}}
	alone := &replica{client: connect(t, s.Kubeconfig, "")}
	before := alone.token(t, "default", "default")
	w.rotate(alone)
	s.Stop()
	flags := moved(t, append([]string{"migrate", "--data-dir", s.DataDir, "--keys-to", t.TempDir() + "/keys"}, etcds.flags()...))
	flags = append(slices.DeleteFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--service-account-issuer") }), issuer)
	if text := strings.Join(flags, " "); strings.Contains(text, "--service-account-signing-key-file") {
		t.Fatalf("the key is in the store, and the migration says to serve with %s", text)
	}
	// A machine that is too busy to prove its view in time is another matter.
	flags = append(flags, "--max-staleness=1m")
	for range 3 {
		w.replicas = append(w.replicas, startReplica(t, s.Kubeconfig, flags))
	}
	w.add(before)
	return w
}

func kidOf(token string) string {
	text, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	var header struct{ Kid string }
	if err != nil || json.Unmarshal(raw, &header) != nil {
		return ""
	}
	return header.Kid
}

func (w *keyWorld) add(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens = append(w.tokens, issuedToken{token, kidOf(token)})
}

// issue makes tokens through one process until ctx is done.
func (w *keyWorld) issue(ctx context.Context, at int) {
	for ctx.Err() == nil {
		var request struct{ Status struct{ Token string } }
		err := w.replicas[at].do(ctx, "POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
			map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}, &request)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.t.Errorf("process %d issues no token: %v", at, err)
			return
		default:
			w.add(request.Status.Token)
			w.made.Add(1)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// review asks any process about any token until ctx is done.
func (w *keyWorld) review(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		token := w.tokens[rand.IntN(len(w.tokens))]
		if n := len(w.tokens); rand.IntN(2) == 0 { // new ones are the risk
			token = w.tokens[n-1]
		}
		w.mu.Unlock()
		at := rand.IntN(len(w.replicas))
		began := time.Now()
		var review struct {
			Status struct {
				Authenticated bool
				Error         string
			}
		}
		err := w.replicas[at].do(ctx, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", map[string]any{
			"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]any{"token": token.text}}, &review)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.t.Errorf("process %d does not review: %v", at, err)
			return
		}
		w.judge(at, token, began, review.Status.Authenticated, review.Status.Error)
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *keyWorld) judge(at int, token issuedToken, began time.Time, accepted bool, why string) {
	w.mu.Lock()
	asked, isAsked := w.asked[token.kid]
	withdrawn, isWithdrawn := w.withdrawn[token.kid]
	w.mu.Unlock()
	switch {
	case accepted && isWithdrawn && began.After(withdrawn.Add(spread)):
		w.t.Errorf("process %d accepts a token of key %s %v after it was withdrawn", at, token.kid, began.Sub(withdrawn))
	case !accepted && !isAsked:
		w.t.Errorf("process %d refuses a good token of key %s: %s", at, token.kid, why)
	case !accepted && began.Before(asked):
	case accepted:
		w.good.Add(1)
	default:
		w.bad.Add(1)
	}
}

type listedKeys struct{ Keys []struct{ ID, State string } }

// signing returns the key that signs.
func (w *keyWorld) signing(at *replica) string {
	var list listedKeys
	at.must(w.t, "GET", "/gatehouse/keys", nil, &list)
	for _, key := range list.Keys {
		if key.State == "signing" {
			return key.ID
		}
	}
	w.t.Fatalf("no key signs: %v", list)
	return ""
}

// rotate has another key sign, waits until it does, and returns its ID.
func (w *keyWorld) rotate(at *replica) string {
	var list listedKeys
	at.must(w.t, "POST", "/gatehouse/keys/rotate", map[string]any{}, &list)
	if len(list.Keys) != 1 || list.Keys[0].State != "published" {
		w.t.Fatalf("rotating answers %v", list)
	}
	if err := at.do(w.t.Context(), "POST", "/gatehouse/keys/rotate", map[string]any{}, nil); !isRefused(err, 409) {
		w.t.Errorf("a second rotation at the same time: %v", err)
	}
	eventually(w.t, time.Minute, "signing with the new key", func() error {
		if now := w.signing(at); now != list.Keys[0].ID {
			return fmt.Errorf("key %s signs", now)
		}
		return nil
	})
	return list.Keys[0].ID
}

// withdraw takes a key back, and wants its tokens refused at once there.
func (w *keyWorld) withdraw(at *replica, kid string) {
	if err := at.do(w.t.Context(), "POST", "/gatehouse/keys/retire", map[string]any{"id": kid}, nil); !isRefused(err, 409) {
		w.t.Errorf("a key whose tokens are good is retired: %v", err)
	}
	eventually(w.t, time.Minute, "a token of the key that is withdrawn", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.ContainsFunc(w.tokens, func(token issuedToken) bool { return token.kid == kid }) {
			return fmt.Errorf("key %s has signed nothing", kid)
		}
		return nil
	})
	w.mu.Lock()
	w.asked[kid] = time.Now()
	w.mu.Unlock()
	at.must(w.t, "POST", "/gatehouse/keys/retire", map[string]any{"id": kid, "now": true}, nil)
	w.mu.Lock()
	w.withdrawn[kid] = time.Now()
	w.mu.Unlock()
	for _, token := range w.tokensOf(kid) {
		var review struct{ Status struct{ Authenticated bool } }
		at.must(w.t, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", map[string]any{
			"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]any{"token": token.text}}, &review)
		if review.Status.Authenticated {
			w.t.Errorf("the process that withdrew key %s accepts a token of it", kid)
		}
	}
}

// tokensOf returns some tokens of a key.
func (w *keyWorld) tokensOf(kid string) []issuedToken {
	w.mu.Lock()
	defer w.mu.Unlock()
	var some []issuedToken
	for _, token := range w.tokens {
		if token.kid == kid && len(some) < 20 {
			some = append(some, token)
		}
	}
	if len(some) == 0 {
		w.t.Errorf("key %s has signed nothing", kid)
	}
	return some
}
