// Package keyset keeps the keys of one issuer of tokens fresh.
//
// The one idea: keys are fetched ahead of need, by one goroutine, and never
// because somebody presents a token whose signature is wrong. The provider's
// answer decides how soon to look again; while the provider is down the last
// keys stay in use, for at most a stated time. A token that names a key that is
// not known may bring the next look forward, and waits for it: the first at once,
// then one in a second, and one in five while that brings nothing new, whoever
// sends how many of them. So a stranger who makes up keys can have a look made as
// often as that; whoever has a new key waits, and is refused only where so many
// wait already.
//
// It refuses: addresses without https, redirects to another origin, documents
// of another issuer, answers of more than 1 MiB, and answers that take longer
// than ten seconds. (OpenID Connect Discovery 1.0 section 4; RFC 8414.)
package keyset

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/turns"
)

const (
	// fetchTimeout bounds one request to a provider with its answer.
	fetchTimeout = 10 * time.Second
	// Bounds of the time between two looks that tokens ask for: it doubles from
	// one to the other while they bring nothing new. The upper one is how long a
	// token of a new key waits at most before there is a look.
	minApart, maxApart = time.Second, 5 * time.Second
	// maxWait is how long a token waits for a look with its answer.
	maxWait = 30 * time.Second
	// How many tokens of one peer wait, and how many in all. Each is a goroutine
	// with its request, up to 50 KiB.
	waitOfPeer, waitInAll = 256, 1024
	// Bounds of how long an answer counts as fresh, and what is taken for an
	// answer that does not say. The upper one is how long a key that was
	// withdrawn can stay in use while its provider answers.
	minFresh, defaultFresh, maxFresh = time.Minute, 10 * time.Minute, time.Hour
	// Bounds of the pause after a failed look; it doubles from one to the other.
	minPause, maxPause = 15 * time.Second, 5 * time.Minute
	// rediscover is how long the address of the keys is believed.
	rediscover = time.Hour
	// DefaultMaxAge is how long keys are used while the provider is down.
	DefaultMaxAge = 24 * time.Hour
)

// A Config says whose keys to keep, and what to do with them.
type Config struct {
	// Issuer is the iss of the tokens, an https URL.
	Issuer string
	// DiscoveryURL is where the issuer describes itself, if that is not below
	// Issuer, in /.well-known/openid-configuration.
	DiscoveryURL string
	// Client makes the requests. The default is NewClient(nil).
	Client *Client
	// MaxAge is how old keys may become that cannot be fetched again. The
	// default is [DefaultMaxAge].
	MaxAge time.Duration
	// Use puts a key set into force, which is the text of a JSON web key set
	// that is other than the last one. An error means that it is no good, and
	// that the last one stays. It is called by one goroutine at a time.
	Use func(set []byte) error
	// Peer returns who is behind a token, so that all get room to wait. Nil is
	// one peer for all.
	Peer func(context.Context) netip.Addr
	// Fetched, which may be nil, is told of each look at the keys: what they
	// are, or why there are none.
	Fetched func(set []byte, err error)
}

// A Set is the keys of one issuer. Use [New], and [Set.Run] once.
type Set struct {
	cfg    Config
	client *Client
	state  atomic.Pointer[state]
	wake   chan struct{}
	ready  chan struct{} // closed by the first good look

	waiting *turns.Crowd

	mu    sync.Mutex // guards what follows
	next  *round     // that tokens wait for and that has not begun, or nil
	asked time.Time  // when the last one that they waited for began
	apart time.Duration
	news  chan struct{} // closed when other keys are put in force

	// What follows belongs to the goroutine of Run.
	keysURL    string
	discovered time.Time
	digest     [sha256.Size]byte
	failures   int
}

// A state is how fetching has gone so far.
type state struct {
	fetched time.Time // of the last good answer; zero if there is none
	err     error     // why the last look failed, or nil
}

// A round is one look at the keys, which tokens wait for.
type round struct{ done chan struct{} }

// New returns a set that has no keys yet. It does nothing by itself.
func New(cfg Config) *Set {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Client == nil {
		cfg.Client = NewClient(nil)
	}
	if cfg.Peer == nil {
		cfg.Peer = func(context.Context) netip.Addr { return netip.Addr{} }
	}
	s := &Set{
		cfg: cfg, client: cfg.Client, wake: make(chan struct{}, 1), ready: make(chan struct{}),
		waiting: turns.NewCrowd(waitOfPeer, waitInAll), news: make(chan struct{}),
	}
	s.state.Store(&state{err: errors.New("the keys were not fetched yet")})
	return s
}

// Until returns until when the keys may be relied on without asking again, or
// why they may not be relied on at all.
func (s *Set) Until() (time.Time, error) {
	now := s.state.Load()
	if now.fetched.IsZero() {
		return time.Time{}, fmt.Errorf("there are no keys of %s: %w", s.cfg.Issuer, now.err)
	}
	until := now.fetched.Add(s.cfg.MaxAge)
	if !time.Now().Before(until) {
		return time.Time{}, fmt.Errorf("the keys of %s were fetched more than %v ago, at %s, and are not used any longer: %w",
			s.cfg.Issuer, s.cfg.MaxAge, now.fetched.UTC().Format(time.RFC3339), now.err)
	}
	// Without the counter, which stands still while the machine sleeps: what is
	// remembered until then has to end by the clock, as tokens do.
	return until.Round(0), nil
}

// Ready is closed once there are keys.
func (s *Set) Ready() <-chan struct{} { return s.ready }

// Problem returns why the last look failed, or nil if it did not. The keys of an
// earlier one may still be in force.
func (s *Set) Problem() error { return s.state.Load().err }

// ErrCrowded is why a token could not wait for a look: too many do.
var ErrCrowded = errors.New("too many tokens that name unknown keys wait for the issuer's keys already")

// Renew has the keys looked at because a token names one that is not known. It
// returns when found reports that the key is there now, or when a look is over
// that began after the call; all share one. It returns an error if there was
// none, if ctx ended first, or [ErrCrowded] if there is no room to wait.
func (s *Set) Renew(ctx context.Context, found func() bool) error {
	peer := s.cfg.Peer(ctx)
	if !s.waiting.Join(peer) {
		return ErrCrowded
	}
	defer s.waiting.Leave(peer)
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	news := s.untilNews()
	if found() {
		return nil // since the caller looked
	}
	mine := s.ask()
	for {
		select {
		case <-mine.done:
			return s.state.Load().err
		case <-news:
			// Of a look that began before: it may have what is wanted all the same.
			if news = s.untilNews(); found() {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for the issuer's keys: %w", ctx.Err())
		}
	}
}

// ask returns the next look, which is made when its time has come.
func (s *Set) ask() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round{make(chan struct{})}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return s.next
}

func (s *Set) untilNews() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// Run fetches the keys at once, and then in time, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	defer s.stop()
	for {
		mine := s.begin()
		again := s.look(ctx)
		if mine != nil {
			close(mine.done)
		}
		if !s.wait(ctx, time.Now().Add(again)) {
			return
		}
	}
}

// begin returns the round that is served by the look that begins now, or nil:
// that of those who asked before.
func (s *Set) begin() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.next
	if s.next = nil; mine != nil {
		s.asked, s.apart = time.Now(), min(max(2*s.apart, minApart), maxApart)
	}
	return mine
}

// wait returns true when it is time for a look: at the time given, or sooner if
// tokens wait for it. It returns false when ctx ends.
func (s *Set) wait(ctx context.Context, at time.Time) bool {
	for {
		timer := time.NewTimer(time.Until(s.sooner(at)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case <-s.wake:
			timer.Stop()
		}
	}
}

func (s *Set) sooner(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due := s.asked.Add(s.apart); s.next != nil && due.Before(at) {
		return due
	}
	return at
}

// stop lets nobody wait for a look that will not be.
func (s *Set) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round{make(chan struct{})}
	}
	close(s.next.done)
}

// look fetches the keys once and returns when to do so again.
func (s *Set) look(ctx context.Context) time.Duration {
	started := time.Now()
	set, fresh, err := s.fetch(ctx)
	if ctx.Err() != nil {
		return 0 // whatever went wrong, it was not the provider
	}
	if err == nil {
		err = s.use(set)
	}
	if s.cfg.Fetched != nil {
		s.cfg.Fetched(set, err)
	}
	if err != nil {
		s.state.Store(&state{s.state.Load().fetched, err})
		pause := min(minPause<<min(s.failures, 10), maxPause)
		s.failures++
		return jitter(pause)
	}
	// Counted from before the request, as RFC 9111 section 4.2.3 counts.
	if s.state.Swap(&state{fetched: started}).fetched.IsZero() {
		close(s.ready)
	}
	s.failures = 0
	return jitter(fresh)
}

// use puts the set into force unless it is in force already.
func (s *Set) use(set []byte) error {
	digest := sha256.Sum256(set)
	if digest == s.digest {
		return nil
	}
	if err := s.cfg.Use(set); err != nil {
		return fmt.Errorf("reading the keys of %s: %w", s.cfg.Issuer, err)
	}
	s.digest = digest
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart = minApart
	close(s.news)
	s.news = make(chan struct{})
	return nil
}

// jitter returns a time of 80 to 95 percent of d, so that what was fetched
// together is not fetched together for ever, and never too late.
func jitter(d time.Duration) time.Duration {
	return d/100*80 + rand.N(d/100*15)
}
