// Package keyset keeps the keys of one issuer of tokens fresh.
//
// The one idea: keys are fetched ahead of need, by one goroutine, and never
// because somebody presents a token whose signature is wrong. The provider's
// answer decides how soon to look again; while the provider is down the last
// keys stay in use, for at most a stated time. A token that names a key that is
// not known may bring the next look forward, but no more often than every ten
// seconds, whoever sends how many of them.
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
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fetchTimeout bounds one request to a provider with its answer.
	fetchTimeout = 10 * time.Second
	// throttle is the least time between two looks that tokens ask for.
	throttle = 10 * time.Second
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

	mu    sync.Mutex // guards what follows
	asked time.Time
	round *round

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

// A round is one look at the keys, which callers wait for.
type round struct{ done chan struct{} }

// New returns a set that has no keys yet. It does nothing by itself.
func New(cfg Config) *Set {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Client == nil {
		cfg.Client = NewClient(nil)
	}
	s := &Set{cfg: cfg, client: cfg.Client, wake: make(chan struct{}, 1), ready: make(chan struct{})}
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
	return until, nil
}

// Ready is closed once there are keys.
func (s *Set) Ready() <-chan struct{} { return s.ready }

// Problem returns why the last look failed, or nil if it did not. The keys of an
// earlier one may still be in force.
func (s *Set) Problem() error { return s.state.Load().err }

// errThrottled says that a look would come too soon after the one before.
var errThrottled = errors.New("the issuer's keys were asked for less than 10 seconds ago")

// Renew looks at the keys again and returns when that is done, because a token
// names a key that is not known. Callers at the same time share one look. It
// returns an error if there was none, or if ctx ended first.
func (s *Set) Renew(ctx context.Context) error {
	s.mu.Lock()
	if s.round == nil {
		if !s.asked.IsZero() && time.Since(s.asked) < throttle {
			s.mu.Unlock()
			return errThrottled
		}
		s.asked = time.Now()
		s.round = &round{make(chan struct{})}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	r := s.round
	s.mu.Unlock()
	// Discovery and keys may each take their time.
	ctx, cancel := context.WithTimeout(ctx, 2*fetchTimeout)
	defer cancel()
	select {
	case <-r.done:
		return s.state.Load().err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the issuer's keys: %w", ctx.Err())
	}
}

// Run fetches the keys at once, and then in time, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	defer s.stop()
	for {
		// Only those are served by this look who asked before it began.
		s.mu.Lock()
		asked := s.round
		s.mu.Unlock()
		next := s.look(ctx)
		if asked != nil {
			s.mu.Lock()
			s.round = nil
			s.mu.Unlock()
			close(asked.done)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// stop lets nobody wait for a look that will not be.
func (s *Set) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round == nil {
		s.round = &round{make(chan struct{})}
	}
	close(s.round.done)
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
	return nil
}

// jitter returns a time of 80 to 95 percent of d, so that what was fetched
// together is not fetched together for ever, and never too late.
func jitter(d time.Duration) time.Duration {
	return d/100*80 + rand.N(d/100*15)
}
