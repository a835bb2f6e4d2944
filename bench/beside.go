package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/internal/outcall"
)

const (
	// hanging is how many tokens somebody is asked about, and perToken how many
	// callers present each of them, again and again.
	hanging, perToken = 256, 2
	// again is how long a caller waits before he presents his token again, and
	// within which all begin: those whose answer comes at once are no load by
	// themselves, and come one by one.
	again = 4 * time.Second
	// settles is how long it takes until all are at it, and measuring begins.
	settles = again + time.Second
	// disturbed is what another method may cost meanwhile, in parts of what it
	// costs in peace; late is the same for its time, which is other people's too.
	disturbed, late = 1.1, 1.5
)

// A manner is how a service behaves.
type manner string

const (
	slowly  manner = "slow"
	dead    manner = "dead"
	garbage manner = "garbage"
)

// A stranger is a service of somebody else, which turns bad.
type stranger struct {
	*httptest.Server
	keys http.HandlerFunc // what a provider says as long as it is good
	over chan struct{}

	mu     sync.Mutex
	how    manner
	flying map[string]int // by what is asked
	most   int            // of the same thing at the same time
	asked  int
}

func newStranger() *stranger {
	s := &stranger{over: make(chan struct{}), flying: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	return s
}

// ServeHTTP implements [http.Handler].
func (s *stranger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	how := s.how
	s.mu.Unlock()
	switch how {
	case slowly:
		select {
		case <-time.After(30 * time.Second):
		case <-r.Context().Done():
		case <-s.over:
		}
	case garbage:
		_, _ = w.Write([]byte("<html>\x00"))
	default:
		s.keys(w, r)
	}
}

// turn has it behave in that way from now on.
func (s *stranger) turn(how manner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.how = how; how == dead {
		_ = s.Listener.Close()
		s.CloseClientConnections()
	}
}

func (s *stranger) close() {
	close(s.over)
	s.Close()
}

// count has the same thing be asked until the function is called that it returns.
func (s *stranger) count(what string) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.flying[what]++
	s.most = max(s.most, s.flying[what])
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flying[what]--
	}
}

// RoundTrip implements [http.RoundTripper] for whoever asks a provider.
func (s *stranger) RoundTrip(r *http.Request) (*http.Response, error) {
	defer s.count(r.URL.Path + " " + r.Header.Get("Authorization"))()
	return s.Client().Transport.RoundTrip(r)
}

func (s *stranger) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// A dependence is a way in that rests on a stranger: it returns a verifier, and
// tokens for which he has to be asked.
type dependence struct {
	name string
	on   func(b *booth, ctx context.Context, s *stranger) (authn.TokenVerifier, []string, error)
}

// beside measures other methods while many tokens wait for somebody who is slow,
// dead, or says what makes no sense, and without him.
func beside(t *measure.Table) error {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBooth(dir)
	if err != nil {
		return err
	}
	t.Section(fmt.Sprintf("Beside %d tokens of others who are slow, dead, or talk garbage: static token, JWT, new certificate, in parts of what they cost in peace", hanging))
	for _, d := range []dependence{
		{"webhook", (*booth).onWebhook}, {"provider's keys", (*booth).onKeys}, {"provider's claims", (*booth).onClaims},
	} {
		for _, how := range []manner{slowly, dead, garbage} {
			if err := b.besideOne(t, d, how); err != nil {
				return fmt.Errorf("%s, %s: %w", d.name, how, err)
			}
		}
	}
	return nil
}

func (b *booth) besideOne(t *measure.Table, d dependence, how manner) error {
	s := newStranger()
	defer s.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	verifier, tokens, err := d.on(b, ctx, s)
	if err != nil {
		return err
	}
	file, static, err := b.staticTokens(atOnce)
	if err != nil {
		return err
	}
	quiet, busy := &booth{}, &booth{}
	if quiet.ours, err = b.buildOurs(file, 1, 4*population); err != nil {
		return err
	}
	if busy.ours, err = b.buildOurs(file, 1, 4*population, verifier); err != nil {
		return err
	}
	s.turn(how)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	for i := range hanging * perToken {
		first := again / (hanging * perToken) * time.Duration(i)
		waiting.Go(func() { insist(ctx, busy.ours, tokens[i%hanging], first) })
	}
	time.Sleep(settles)
	people, err := b.es.signMany(atOnce, personClaims(issuerURL(0)))
	if err != nil {
		return err
	}
	var cost, delay []string
	over := false
	for _, ask := range []func() func(int) *http.Request{
		func() func(int) *http.Request { return bearing(static) },
		func() func(int) *http.Request { return bearing(texts(people)) },
		func() func(int) *http.Request { return with(b.esCert, nil, true) },
	} {
		ratio, slower, felt := compare(busy.askOurs(ask()), quiet.askOurs(ask()))
		cost, delay = append(cost, fmt.Sprintf("%.2f", ratio.Value)), append(delay, fmt.Sprintf("%.2f", slower))
		over = over || felt
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Alone(fmt.Sprintf("%s: %s", d.name, how), fmt.Sprintf("CPU %s, time %s", strings.Join(cost, " "), strings.Join(delay, " ")), over, fmt.Sprintf("%.3g, %.3g", disturbed, late))
	t.Alone("  asked at the same time for one token", fmt.Sprintf("%d (%d in all)", s.most, s.asked), s.most > 1, "1")
	if s.asked == 0 {
		return errors.New("nobody was asked")
	}
	return nil
}

// compare returns what during costs, and how long it takes, in parts of before, and
// whether that is too much. A machine that is busy with something else disturbs
// one try or another; what is measured here would disturb all of them.
func compare(during, before measure.Operation) (ratio measure.Ratio, slower float64, felt bool) {
	for range 4 {
		_, _, ratio = measure.Both(during, before)
		slower = fastest(during) / fastest(before)
		if felt = measure.Exceeds(ratio.Value, ratio.Noise, disturbed) || slower > late; !felt {
			break
		}
	}
	return ratio, slower, felt
}

// insist presents a token that is never accepted, again and again.
func insist(ctx context.Context, door authn.Authenticator, token string, first time.Duration) {
	r := bearing([]string{token})(0).WithContext(ctx)
	for pause := first; ; pause = again {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			_, _ = door.Authenticate(r)
		}
	}
}

// fastest returns the shortest time for an operation of several turns: what else
// happens on the machine only makes turns longer.
func fastest(op measure.Operation) float64 {
	const n = 500
	var turns []time.Duration
	for range 30 {
		start := time.Now()
		op(n)
		turns = append(turns, time.Since(start))
	}
	return float64(slices.Min(turns)) / n
}

func (b *booth) onWebhook(ctx context.Context, s *stranger) (authn.TokenVerifier, []string, error) {
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],
"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}]}`, s.URL, base64.StdEncoding.EncodeToString(s.authority()))
	target, err := outcall.ReadTarget("webhook", []byte(config), os.ReadFile)
	if err != nil {
		return nil, nil, err
	}
	client := outcall.New(ctx, outcall.Config{Name: "webhook", Log: slog.New(slog.DiscardHandler)}, target)
	hook, err := webhook.New(webhook.Config{Version: "v1", Audiences: []string{issuer}, TTL: time.Minute,
		Ask: func(ctx context.Context, review []byte, read func([]byte) error) error {
			defer s.count(string(review))()
			return client.Post(ctx, review, read)
		}})
	if err != nil {
		return nil, nil, err
	}
	tokens := make([]string, hanging)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("asked-about-%d", i)
	}
	return hook, tokens, nil
}

// onKeys has tokens of keys that the provider may have published since.
func (b *booth) onKeys(ctx context.Context, s *stranger) (authn.TokenVerifier, []string, error) {
	other := *b.es
	other.id = "unknown"
	tokens, err := other.signMany(hanging, personClaims(s.URL))
	if err != nil {
		return nil, nil, err
	}
	verifier, err := b.follow(ctx, s)
	return verifier, texts(tokens), err
}

// onClaims has tokens whose groups are kept at the provider.
func (b *booth) onClaims(ctx context.Context, s *stranger) (authn.TokenVerifier, []string, error) {
	tokens, err := b.es.signMany(hanging, func(n int) map[string]any {
		claims := personClaims(s.URL)(n)
		delete(claims, "groups")
		claims["_claim_names"] = map[string]string{"groups": "s"}
		claims["_claim_sources"] = map[string]any{"s": map[string]string{"endpoint": s.URL + "/groups", "access_token": fmt.Sprint(n)}}
		return claims
	})
	if err != nil {
		return nil, nil, err
	}
	verifier, err := b.follow(ctx, s)
	return verifier, texts(tokens), err
}

// follow returns a verifier of tokens of a provider whose keys it has.
func (b *booth) follow(ctx context.Context, s *stranger) (authn.TokenVerifier, error) {
	key := jose.JSONWebKey{Key: b.es.key.Public(), KeyID: b.es.id, Algorithm: b.es.algorithm, Use: "sig"}
	s.keys = func(w http.ResponseWriter, r *http.Request) {
		answer := any(map[string]any{"keys": []any{key}})
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			answer = map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
	path := filepath.Join(b.dir, "authentication.json")
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[{
"issuer":{"url":%q,"audiences":[%q]},"claimMappings":{"username":{"claim":"sub","prefix":""},"groups":{"claim":"groups","prefix":""}}}]}`, s.URL, audience), 0o600); err != nil {
		return nil, err
	}
	live, err := issuers.Open(issuers.Config{Path: path, Algorithms: []string{b.es.algorithm}, Audiences: []string{issuer}, Transport: s}, unmeasured{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	go live.Run(ctx)
	good, err := b.es.sign(personClaims(s.URL)(0))
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = live.Verifier().VerifyToken(ctx, good.text, nil); err == nil || time.Now().After(end) {
			return live.Verifier(), err
		}
	}
}

// unmeasured are metrics that nobody reads.
type unmeasured struct{}

func (unmeasured) Verified(string) func(time.Duration, error) { return func(time.Duration, error) {} }
func (unmeasured) KeysFetched(string, []byte, error)          {}
func (unmeasured) Gone(string)                                {}
func (unmeasured) Configured([]byte, bool)                    {}
func (unmeasured) Refused()                                   {}
