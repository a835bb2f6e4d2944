// Package siege is a crowd that wears a server down, and the one honest caller
// in it, who must not notice.
//
// A [Force] is a part of the crowd, in a process of its own (test/siege/force):
// no process may hold as many connections as the siege needs. It does one thing
// until its time is up or its standard input ends, so that none outlives the
// test that started it, and then writes a [Report]. Everything stays on the
// loopback interface, where each force has addresses of its own: that is how
// the server tells peers apart.
package siege

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An Order tells a force what to do.
type Order struct {
	Role    string // one of Roles
	Address string // of the server, host:port on the loopback
	CA      []byte // that the server's certificate is from, in PEM form
	// Sources are the addresses to come from, in turn.
	Sources []string
	// Count is how many connections to hold, or for a caller how many requests
	// to send in a second.
	Count int
	// Token is a good one of a service account that may do everything.
	Token string
	// Most is when to end in any case.
	Most time.Duration
}

// A Report is what a force has seen.
type Report struct {
	Role string
	// Made counts connections or requests, Failed those that did not work, and
	// Closed the connections that the server ended.
	Made, Failed, Closed int64
	// Statuses counts answers.
	Statuses map[int]int64
	// Took are the times of what was asked, by kind.
	Took map[string]Times
	// Errors are the first few.
	Errors []string
}

// Roles are the forces by name. Each works until ctx is done, and calls ready
// once it is at full strength.
func Roles() map[string]func(ctx context.Context, f *Force, ready func()) {
	return map[string]func(context.Context, *Force, func()){
		"idle": idle, "mute": mute, "liars": liars, "slow": slow, "bombs": bombs, "caller": caller,
	}
}

// A Force is one part of the crowd at work.
type Force struct {
	Order
	config *tls.Config

	made, failed, closed atomic.Int64

	mu       sync.Mutex // guards what follows
	statuses map[int]int64
	took     map[string]*clock
	errors   []string
}

// New returns the force that an order asks for.
func New(o Order) (*Force, error) {
	if Roles()[o.Role] == nil {
		return nil, fmt.Errorf("there is no role %q", o.Role)
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is not on the loopback interface", o.Address)
	}
	if len(o.Sources) == 0 || o.Most <= 0 {
		return nil, errors.New("an order needs addresses to come from, and an end")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(o.CA) {
		return nil, errors.New("the order has no CA")
	}
	return &Force{
		Order: o, config: &tls.Config{RootCAs: pool, ServerName: host},
		statuses: map[int]int64{}, took: map[string]*clock{},
	}, nil
}

// Run works until ctx is done or the order's time is up.
func (f *Force) Run(ctx context.Context, ready func()) *Report {
	ctx, cancel := context.WithTimeout(ctx, f.Most)
	defer cancel()
	Roles()[f.Role](ctx, f, ready)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Report{
		Role: f.Role, Made: f.made.Load(), Failed: f.failed.Load(), Closed: f.closed.Load(),
		Statuses: f.statuses, Took: map[string]Times{}, Errors: f.errors,
	}
	for kind, c := range f.took {
		r.Took[kind] = c.times()
	}
	return r
}

// each runs work in n goroutines, tells each its number, and waits for them.
func each(n int, work func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { work(i) })
	}
	all.Wait()
}

// dial connects from the i-th address.
func (f *Force) dial(ctx context.Context, i int) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   30 * time.Second,
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(f.Sources[i%len(f.Sources)])},
		KeepAlive: -1,
	}
	conn, err := d.DialContext(ctx, "tcp", f.Address)
	if err == nil {
		// Leaves no port behind that cannot be used for a minute.
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	return conn, err
}

// dialTLS connects from the i-th address, and offers the protocols.
func (f *Force) dialTLS(ctx context.Context, i int, protocols ...string) (*tls.Conn, error) {
	raw, err := f.dial(ctx, i)
	if err != nil {
		return nil, err
	}
	config := f.config.Clone()
	config.NextProtos = protocols
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// fail keeps the first few errors, unless the force was told to end.
func (f *Force) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.failed.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errors) < 8 {
		f.errors = append(f.errors, err.Error())
	}
}

func (f *Force) status(code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[code]++
}

func (f *Force) time(kind string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.took[kind] == nil {
		f.took[kind] = new(clock)
	}
	f.took[kind].add(took)
}

// closedByPeer tells the end of a connection that the other side has decided.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pause waits, unless ctx is done before.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
