package identity_test

import (
	"context"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// A lifetime is when something came into force that is rotated, and when it
// went. Nobody knows better what the server thinks between the moment when a
// change is written and the one when the server says that it is in force.
type lifetime struct {
	mu          sync.Mutex
	going, gone time.Time
}

// end has the change made that ends it, and notes when that was.
func (l *lifetime) end(change func() error) error {
	l.mu.Lock()
	l.going = time.Now()
	l.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = time.Now()
	return nil
}

// during reports whether it was good, or withdrawn, all the time from began to
// ended.
func (l *lifetime) during(began, ended time.Time) (good, withdrawn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.going.IsZero() || ended.Before(l.going), !l.gone.IsZero() && began.After(l.gone)
}

// A shownPair is a serving certificate, with the CA that a client trusts then.
type shownPair struct {
	lifetime
	ca, cert, key string
}

// eachKind is how many clients of each kind come with a credential.
const eachKind = 2

// servingName is what clients call the server.
const servingName = "127.0.0.1"

// A rotating world changes all that its clients rest on while they use it.
type rotating struct {
	*world
	rounds int
	crowd  sync.WaitGroup

	mu      sync.Mutex
	pairs   []*shownPair
	changes []*lifetime // of what a handshake rests on
	counts  map[string]int
}

// TestRotationUnderLoad replaces the CA of clients, the serving certificate and
// the keys that sign tokens, all at once and again and again, while clients use
// them on connections that are open, on new ones, and on those that take up an
// earlier session. No good credential is refused, none is accepted that was
// withdrawn, and no session is taken up over a change. A hundred times by night.
func TestRotationUnderLoad(t *testing.T) {
	w := startRotating(t)
	var rotators sync.WaitGroup
	for name, rotate := range map[string]func(func() bool) error{
		"the CA of clients": w.rotateAuthorities, "the serving certificate": w.rotatePairs, "the signing key": w.rotateKeys,
	} {
		rotators.Go(func() {
			left := w.rounds
			more := func() bool { left--; return left >= 0 && !t.Failed() }
			if err := rotate(more); err != nil {
				t.Errorf("rotating %s, with %d rounds to go: %v", name, left, err)
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	for _, n := range []string{"static token on an open connection", "static token on new connections"} {
		kind := clientKind{name: n, fresh: strings.Contains(n, "new"), token: "joes-t0ken"}
		w.crowd.Go(func() { w.use(ctx, kind, new(lifetime)) })
	}
	rotators.Wait()
	stop()
	w.crowd.Wait()
	for _, kind := range append(kinds(), clientKind{name: "token on an open connection"}, clientKind{name: "token on new connections"}) {
		accepted, refused, resumed := w.counts[kind.name+" accepted"], w.counts[kind.name+" refused"], w.counts[kind.name+" resumed"]
		t.Logf("%-40s %6d accepted, %4d refused, %5d sessions taken up", kind.name, accepted, refused, resumed)
		if accepted < w.rounds || refused < w.rounds || kind.resumes && resumed < w.rounds {
			t.Errorf("%s: there was no load", kind.name)
		}
	}
	t.Logf("%d rounds; static tokens %d times; %d handshakes", w.rounds,
		w.counts["static token on an open connection accepted"]+w.counts["static token on new connections accepted"], w.counts["handshakes"])
}

func startRotating(t *testing.T) *rotating {
	t.Helper()
	w := &rotating{rounds: 2, counts: map[string]int{}}
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		w.rounds = 100
	}
	first, key := servingPair(t), authority.NewKey(t)
	w.pairs = append(w.pairs, first)
	w.world = start(t, map[string]string{
		"ca.pem": authority.New(t, "nobody's").PEM(), "tokens.csv": "joes-t0ken,joe,uid-7\n",
		"serving.crt": first.cert, "serving.key": first.key,
		"sign.key": keyPEM(t, key), "verify.pem": publicPEM(t, key),
		// A machine that is too busy to prove its view in time is another matter.
	}, "--max-staleness=1m", "--tls-cert-file=DIR/serving.crt", "--tls-private-key-file=DIR/serving.key",
		"--service-account-signing-key-file=DIR/sign.key", "--service-account-key-file=DIR/verify.pem")
	// What it is shown is what this test changes.
	cfg := w.Config()
	cfg.Insecure, cfg.CAData, cfg.CAFile = true, nil, ""
	var err error
	if w.admin.client, err = rest.HTTPClientFor(cfg); err != nil {
		t.Fatal(err)
	}
	w.namespace("x")
	w.account("x", "sa")
	return w
}

func servingPair(t *testing.T) *shownPair {
	t.Helper()
	p := new(shownPair)
	p.ca, p.cert, p.key = servingFiles(t, servingName)
	return p
}

// reloaded has files written, and waits until the server has taken them. Each is
// a change of what is called name.
func (w *rotating) reloaded(name string, files ...string) error {
	before, err := w.reloads(name, "success")
	if err != nil {
		return err
	}
	for i := 0; i < len(files); i += 2 {
		if err := replaceFile(w.file(files[i]), files[i+1]); err != nil {
			return err
		}
	}
	return w.await(name, "success", before)
}

// reloads returns how often a change was read.
func (w *rotating) reloads(name, status string) (n int, err error) {
	a, err := w.admin.try("GET", "/metrics", nil)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(a.body, fmt.Sprintf("gatehouse_file_reloads_total{file=%q,status=%q} ", name, status))
	if _, err := fmt.Sscan(after, &n); err != nil {
		return 0, fmt.Errorf("no count of %s: %w", name, err)
	}
	return n, nil
}

// await waits until one more was.
func (w *rotating) await(name, status string, before int) error {
	for end := time.Now().Add(env.Patience); ; time.Sleep(30 * time.Millisecond) {
		now, err := w.reloads(name, status)
		if err != nil || now > before {
			return err
		}
		if time.Now().After(end) || w.t.Failed() {
			return fmt.Errorf("waited in vain for a %s with %s", status, name)
		}
	}
}

// changed is reloaded for what handshakes rest on.
func (w *rotating) changed(name string, files ...string) error {
	change := new(lifetime)
	w.mu.Lock()
	w.changes = append(w.changes, change)
	w.mu.Unlock()
	return change.end(func() error { return w.reloaded(name, files...) })
}

// rotateAuthorities has the old CA and the new one trusted, and then the new one
// alone.
func (w *rotating) rotateAuthorities(more func() bool) error {
	const name, file = "client-ca-file", "ca.pem"
	type trusted struct {
		*authority.Authority
		lifetime
	}
	join := func(next *trusted) {
		for _, kind := range kinds() {
			kind.cert = next.Sign(w.t, pkix.Name{CommonName: "jane"}, nil)
			for range eachKind {
				w.crowd.Go(func() { w.use(w.t.Context(), kind, &next.lifetime) })
			}
		}
	}
	// They have one name, as those have that follow each other.
	old := &trusted{Authority: authority.New(w.t, "clients")}
	if err := w.changed(name, file, old.PEM()); err != nil {
		return err
	}
	join(old)
	for more() {
		next := &trusted{Authority: authority.New(w.t, "clients")}
		if err := w.changed(name, file, old.PEM()+next.PEM()); err != nil {
			return err
		}
		join(next)
		if err := old.end(func() error { return w.changed(name, file, next.PEM()) }); err != nil {
			return err
		}
		old = next
	}
	// The last ones are withdrawn too: their clients end.
	return old.end(func() error { return w.changed(name, file, authority.New(w.t, "nobody's").PEM()) })
}

// rotatePairs replaces the serving certificate: every other time its key comes
// when the server has found that the new certificate does not match the old one.
func (w *rotating) rotatePairs(more func() bool) error {
	const name = "tls-cert-file"
	for n := 0; more(); n++ {
		next := servingPair(w.t)
		w.mu.Lock()
		old := w.pairs[len(w.pairs)-1]
		w.pairs = append(w.pairs, next)
		w.mu.Unlock()
		if n%2 == 1 {
			before, err := w.reloads(name, "failure")
			if err != nil {
				return err
			}
			if err := replaceFile(w.file("serving.crt"), next.cert); err != nil {
				return err
			}
			if err := w.await(name, "failure", before); err != nil {
				return err
			}
			time.Sleep(50 * time.Millisecond) // some come meanwhile, and see the old one
		}
		err := old.end(func() error { return w.changed(name, "serving.key", next.key, "serving.crt", next.cert) })
		if err != nil {
			return err
		}
	}
	return nil
}

// rotateKeys has the next key verify, then sign, and then verify alone.
func (w *rotating) rotateKeys(more func() bool) error {
	const name = "service-account-key-file"
	old, life := authority.NewKey(w.t), new(lifetime)
	for more() {
		next := authority.NewKey(w.t)
		now, err := os.ReadFile(w.file("verify.pem"))
		if err != nil {
			return err
		}
		if err := w.reloaded(name, "verify.pem", publicPEM(w.t, next)+string(now)); err != nil {
			return err
		}
		if err := w.reloaded(name, "sign.key", keyPEM(w.t, next)); err != nil {
			return err
		}
		if err := life.end(func() error { return w.reloaded(name, "verify.pem", publicPEM(w.t, next)) }); err != nil {
			return err
		}
		old, life = next, new(lifetime)
		if err := w.joinWithTokens(keyID(w.t, old), life); err != nil {
			return err
		}
	}
	// The tokens of the last one end with another key.
	other := authority.NewKey(w.t)
	if err := w.reloaded(name, "verify.pem", publicPEM(w.t, other)+publicPEM(w.t, old)); err != nil {
		return err
	}
	if err := w.reloaded(name, "sign.key", keyPEM(w.t, other)); err != nil {
		return err
	}
	return life.end(func() error { return w.reloaded(name, "verify.pem", publicPEM(w.t, other)) })
}

// joinWithTokens has clients use tokens of the key that signs now.
func (w *rotating) joinWithTokens(kid string, life *lifetime) error {
	var issued authenticationv1.TokenRequest
	a, err := w.admin.try("POST", inNamespace("x", "serviceaccounts/sa/token"), &issued)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(a.body), &issued); err != nil {
		return err
	}
	if got := header(w.t, issued.Status.Token)["kid"]; got != kid {
		return fmt.Errorf("the key that signs is %v, not %s", got, kid)
	}
	for _, kind := range []clientKind{{name: "token on an open connection"}, {name: "token on new connections", fresh: true}} {
		kind.token = issued.Status.Token
		for range eachKind {
			w.crowd.Go(func() { w.use(w.t.Context(), kind, life) })
		}
	}
	return nil
}
