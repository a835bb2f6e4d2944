// Package session keeps the place of one process in the API: it makes its Pod and
// Lease, renews the Lease, has new tokens before the old ones end, and deletes
// the Pod when the process has ended, which ends the tokens.
//
// The one idea is that a server may be away for as long as the last token lives.
// Everything is tried again until then, and only what the server says is final:
// that the Pod is gone, and with it whatever was bound to it. No clock of the
// server is compared with ours; a token's life is counted from before it was
// asked for.
//
// It refuses to make a second Pod for a process whose first was taken away:
// whoever deleted it meant it.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/internal/secret"
	"gatehouse.dev/gatehouse/internal/workload"
)

const (
	// tokenLife is the least that Kubernetes gives.
	tokenLife = 10 * time.Minute
	// A call that failed is made again after firstRetry, then after twice that,
	// and so on up to lastRetry, or for the Lease, whose time is short, lastBeat.
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	lastBeat   = 4 * time.Second
)

// LongestInterval is how much of its life a token is used for: 80 %, as by a
// kubelet.
const LongestInterval = tokenLife * 4 / 5

// ErrGone is that the Pod of the process was deleted by somebody else.
var ErrGone = errors.New("the Pod was deleted")

// ErrEnded is that the last token has ended before there was another.
var ErrEnded = errors.New("the token has ended and there is no new one")

// A Config is what a session needs.
type Config struct {
	// API is the way to the server, as somebody who may do the calls.
	API     *rest.Config
	Process workload.Process
	// Interval is how often there is a new token; 0 is LongestInterval.
	Interval time.Duration
	Log      *slog.Logger
}

// A Session is the place of one process.
type Session struct {
	api      *api
	pod      *corev1.Pod
	interval time.Duration
	log      *slog.Logger

	token   token // the last one that was handed on
	expired bool  // its end was told
}

// Open makes the Pod, the Lease and the first token. What it has made before an
// error it takes back.
func Open(ctx context.Context, c Config) (*Session, error) {
	a, err := newAPI(c.API)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	s := &Session{api: a, interval: c.Interval, log: c.Log}
	if s.pod, err = bounded(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return a.createPod(ctx, c.Process.Pod())
	}); err != nil {
		return nil, fmt.Errorf("registering the process: %w", err)
	}
	if err := s.begin(ctx); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return nil, errors.Join(err, s.Close(undo))
	}
	return s, nil
}

// begin makes what belongs to the Pod.
func (s *Session) begin(ctx context.Context) error {
	if err := s.takeLease(ctx); err != nil {
		return fmt.Errorf("registering the process: %w", err)
	}
	var err error
	if s.token, err = s.newToken(ctx); err != nil {
		return fmt.Errorf("asking for a token: %w", err)
	}
	_, err = bounded(ctx, func(ctx context.Context) (any, error) { return nil, s.api.markRunning(ctx, s.pod) })
	if err != nil {
		return fmt.Errorf("registering the process: %w", err)
	}
	return nil
}

// Name is that of the Pod.
func (s *Session) Name() string { return s.pod.Name }

// Token is the first token. Later ones are told by Keep.
func (s *Session) Token() secret.Bytes { return s.token.text }

// Keep renews the Lease and the token until ctx is done, or until the Pod is
// gone. It tells renewed of each new token, and tries again if that fails; and
// lost, once each time, that the process has no good token any more: with ErrGone
// it will have none again, and with ErrEnded as soon as the server answers.
func (s *Session) Keep(ctx context.Context, renewed func(secret.Bytes) error, lost func(error)) {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return s.keepLease(ctx) })
	work.Go(func() error { return s.keepToken(ctx, renewed, lost) })
	if err := work.Wait(); errors.Is(err, ErrGone) {
		lost(err)
	}
}

// Close deletes the Pod, which ends all its tokens. What it could not delete the
// server will, when the Lease has run out.
func (s *Session) Close(ctx context.Context) error {
	err := ignore(s.api.deletePod(ctx, s.pod))
	err = errors.Join(err, ignore(s.api.deleteLease(ctx, s.pod.Namespace, s.pod.Name)))
	if err != nil {
		return fmt.Errorf("deleting the Pod of the process: %w", err)
	}
	return nil
}

// ignore passes over that something is gone, or is another's.
func ignore(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// keepLease renews the Lease until ctx is done or the Pod is gone.
func (s *Session) keepLease(ctx context.Context) error {
	next := time.Now().Add(workload.Heartbeat)
	pause := firstRetry
	for sleep(ctx, time.Until(next)) {
		now := time.Now()
		err := s.beat(ctx)
		switch {
		case errors.Is(err, ErrGone):
			return err
		case ctx.Err() != nil:
			return nil
		case err == nil:
			next, pause = now.Add(workload.Heartbeat), firstRetry
		default:
			s.log.WarnContext(ctx, "the lease could not be renewed", "pod", s.pod.Name, "err", err, "again_in", pause)
			next = time.Now().Add(jitter(pause))
			pause = min(2*pause, lastBeat)
		}
	}
	return nil
}

// beat renews the Lease once, or makes it anew if somebody has deleted it.
func (s *Session) beat(ctx context.Context) error {
	err := s.renew(ctx)
	if !final(err) {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.takeLease(ctx)
}

func (s *Session) renew(ctx context.Context) error {
	_, err := bounded(ctx, func(ctx context.Context) (any, error) {
		return nil, s.api.renew(ctx, workload.Lease(s.pod, time.Now()))
	})
	return err
}

// takeLease makes the Lease, or takes what is left of one.
func (s *Session) takeLease(ctx context.Context) error {
	_, err := bounded(ctx, func(ctx context.Context) (any, error) {
		return nil, s.api.createLease(ctx, workload.Lease(s.pod, time.Now()))
	})
	if apierrors.IsAlreadyExists(err) {
		return s.renew(ctx)
	}
	return err
}

// look returns ErrGone if the Pod is.
func (s *Session) look(ctx context.Context) error {
	pod, err := bounded(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return s.api.getPod(ctx, s.pod.Namespace, s.pod.Name)
	})
	if apierrors.IsNotFound(err) || err == nil && pod.UID != s.pod.UID {
		return ErrGone
	}
	return err
}

// keepToken has a new token before the last one ends, until ctx is done or the
// Pod is gone.
func (s *Session) keepToken(ctx context.Context, renewed func(secret.Bytes) error, lost func(error)) error {
	next, pause := s.due(), firstRetry
	for s.sleep(ctx, next, lost) {
		err := s.nextToken(ctx, renewed)
		switch {
		case errors.Is(err, ErrGone):
			return err
		case ctx.Err() != nil:
			return nil
		case err == nil:
			next, pause = s.due(), firstRetry
		default:
			s.log.WarnContext(ctx, "no new token", "pod", s.pod.Name, "err", err,
				"again_in", pause, "ends_in", max(0, time.Until(s.end())).Round(time.Second))
			next = time.Now().Add(jitter(pause))
			pause = min(2*pause, lastRetry)
		}
	}
	return nil
}

// nextToken gets a token and hands it on.
func (s *Session) nextToken(ctx context.Context, renewed func(secret.Bytes) error) error {
	next, err := s.newToken(ctx)
	if final(err) {
		if gone := s.look(ctx); gone != nil {
			return gone
		}
	}
	if err != nil {
		return err
	}
	if err := renewed(next.text); err != nil {
		return err
	}
	s.token = next
	if s.expired {
		s.expired = false
		s.log.InfoContext(ctx, "there is a new token", "pod", s.pod.Name)
	}
	return nil
}

func (s *Session) newToken(ctx context.Context) (token, error) {
	now := time.Now()
	t, err := bounded(ctx, func(ctx context.Context) (token, error) { return s.api.requestToken(ctx, s.pod) })
	t.began = now
	return t, err
}

// due is when there should be a new token, and end when there has to be one.
func (s *Session) due() time.Time {
	interval := s.token.life * 4 / 5
	if s.interval > 0 {
		interval = min(interval, s.interval)
	}
	return s.token.began.Add(interval)
}

func (s *Session) end() time.Time { return s.token.began.Add(s.token.life) }

// sleep waits until then, and tells meanwhile that the token has ended.
func (s *Session) sleep(ctx context.Context, until time.Time, lost func(error)) bool {
	if end := s.end(); !s.expired && !end.After(until) {
		if !sleep(ctx, time.Until(end)) {
			return false
		}
		s.expired = true
		lost(ErrEnded)
	}
	return sleep(ctx, time.Until(until))
}

// final reports whether an error may mean that the Pod is gone.
func final(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err)
}

// bounded makes a call that ends.
func bounded[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}

// sleep waits, and reports false if ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// jitter spreads the calls of many after an outage.
func jitter(d time.Duration) time.Duration { return d*4/5 + rand.N(d*2/5) }
