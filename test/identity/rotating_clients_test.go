package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A clientKind is how a client comes, and with what.
type clientKind struct {
	name  string
	http1 bool
	// fresh has each request come on a connection of its own, and resumes these
	// take up earlier sessions, of TLS 1.2 if old is set.
	fresh, resumes, old bool
	// patient has no request be on its way while what it shows is withdrawn: the
	// refusal comes on the connection that is open.
	patient bool
	cert    *tls.Certificate
	token   string
}

// kinds are those who show a certificate.
func kinds() []clientKind {
	return []clientKind{
		{name: "certificate, HTTP/1.1, open", http1: true, patient: true},
		{name: "certificate, HTTP/2, open", patient: true},
		{name: "certificate, HTTP/2, open and busy"},
		{name: "certificate, HTTP/1.1, new", http1: true, fresh: true},
		{name: "certificate, HTTP/2, new", fresh: true},
		{name: "certificate, TLS 1.2 sessions", http1: true, fresh: true, resumes: true, old: true},
		{name: "certificate, TLS 1.3 sessions", fresh: true, resumes: true},
	}
}

// A user is one client.
type user struct {
	clientKind
	w         *rotating
	transport *http.Transport
	tickets   *tickets
	dials     atomic.Int32
}

func (w *rotating) newUser(kind clientKind) *user {
	u := &user{clientKind: kind, w: w}
	if kind.resumes {
		u.tickets = new(tickets)
	}
	u.transport = &http.Transport{DialTLSContext: u.dial, ForceAttemptHTTP2: !kind.http1, DisableKeepAlives: kind.fresh}
	return u
}

// use has a client come again and again until it is refused because what it
// shows was withdrawn before it came, or until ctx is done.
func (w *rotating) use(ctx context.Context, kind clientKind, life *lifetime) {
	u := w.newUser(kind)
	defer u.transport.CloseIdleConnections()
	refusals := int32(0)
	for ctx.Err() == nil && !w.t.Failed() {
		if kind.patient {
			w.settle(life)
		}
		began := time.Now()
		code, err := u.ask(ctx)
		good, withdrawn := life.during(began, time.Now())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.t.Errorf("%s: %v", kind.name, err)
		case code != http.StatusCreated && code != http.StatusUnauthorized:
			w.t.Errorf("%s: it is answered with %d", kind.name, code)
		case code != http.StatusCreated && good:
			w.t.Errorf("%s: it is refused, and good", kind.name)
		case code == http.StatusCreated && withdrawn:
			w.t.Errorf("%s: it is accepted, and withdrawn", kind.name)
		case !kind.fresh && u.dials.Load() > 1+refusals:
			w.t.Errorf("%s: the connection did not stay open", kind.name)
		case code == http.StatusCreated:
			w.count(kind.name + " accepted")
		case withdrawn:
			w.count(kind.name + " refused")
			return
		default:
			refusals++ // which ends a connection
		}
		time.Sleep(30*time.Millisecond + rand.N(60*time.Millisecond))
	}
}

// settle waits until what is being withdrawn has gone.
func (w *rotating) settle(life *lifetime) {
	for !w.t.Failed() {
		now := time.Now()
		if good, withdrawn := life.during(now, now); good || withdrawn {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *rotating) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// ask asks the server who the client is.
func (u *user) ask(ctx context.Context) (code int, err error) {
	r, err := http.NewRequestWithContext(ctx, "POST", u.w.Address+selfReviews,
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	answer, err := u.transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// dial shakes hands, and judges what the server has shown.
func (u *user) dial(ctx context.Context, network, address string) (net.Conn, error) {
	began := time.Now()
	u.dials.Add(1)
	config := &tls.Config{
		NextProtos: []string{"h2", "http/1.1"},
		// What is trusted is asked when the certificate is there, not before. A
		// session is verified as well: that it is dead is for the server to see to.
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return u.judge(began, state) },
	}
	if u.http1 {
		config.NextProtos = config.NextProtos[1:]
	}
	if u.cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return u.cert, nil }
	}
	if u.tickets != nil {
		config.ClientSessionCache = u.tickets
	}
	if u.old {
		config.MaxVersion = tls.VersionTLS12
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
}

// judge says whether a connection that began then shows what it should, and takes
// up no session from before a change. Of one that is taken up, the state has the
// certificate that was shown when it began.
func (u *user) judge(began time.Time, state tls.ConnectionState) error {
	w := u.w
	w.count("handshakes")
	w.mu.Lock()
	pairs, changes := slices.Clone(w.pairs), slices.Clone(w.changes)
	w.mu.Unlock()
	trusted := x509.NewCertPool()
	for _, p := range pairs {
		if _, gone := p.during(began, began); !gone {
			trusted.AppendCertsFromPEM([]byte(p.ca))
		}
	}
	if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: trusted, DNSName: servingName}); err != nil {
		return fmt.Errorf("the serving certificate, session taken up: %v: %w", state.DidResume, err)
	}
	if !state.DidResume {
		return nil
	}
	w.count(u.name + " resumed")
	for _, c := range changes {
		if c.between(u.tickets.used(), began) {
			return errors.New("a session is taken up over a change")
		}
	}
	return nil
}

// between reports whether all of a change came after one moment and before
// another.
func (l *lifetime) between(early, late time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return early.Before(l.going) && !l.gone.IsZero() && late.After(l.gone)
}

// keptTickets is how many tickets a client keeps.
const keptTickets = 8

// tickets are those of one client: it comes with the last one, or any.
type tickets struct {
	mu    sync.Mutex
	kept  []ticket
	shown time.Time
}

type ticket struct {
	state *tls.ClientSessionState
	came  time.Time
}

// Get implements [tls.ClientSessionCache].
func (t *tickets) Get(string) (*tls.ClientSessionState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return nil, false
	}
	one := t.kept[len(t.kept)-1]
	if rand.IntN(3) == 0 {
		one = t.kept[rand.IntN(len(t.kept))]
	}
	t.shown = one.came
	return one.state, true
}

// Put implements [tls.ClientSessionCache].
func (t *tickets) Put(_ string, state *tls.ClientSessionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if state == nil {
		return
	}
	t.kept = append(t.kept, ticket{state, time.Now()})
	t.kept = t.kept[max(0, len(t.kept)-keptTickets):]
}

// used returns when the ticket came that was shown last.
func (t *tickets) used() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown
}
