package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

const (
	// atOnce is how many credentials are asked about at the same time. It bounds
	// what a change that concerns all of them takes from the requests that come
	// in meanwhile.
	atOnce = 8
	// askFor is how long an answer may take.
	askFor = 4 * time.Second
	// settled is how long an answer counts at least, though something may change
	// again at once, and askAgain how soon somebody is asked again who did not
	// answer.
	settled  = lookEvery
	askAgain = time.Second
)

// asking is what is asked about. Each group of requests has one credential.
type asking struct {
	mu      sync.Mutex
	groups  [][]*Request
	workers int

	confirmed, refused, unanswered atomic.Uint64
}

func (a *asking) counts() map[string]uint64 {
	return map[string]uint64{
		"confirmed": a.confirmed.Load(), "refused": a.refused.Load(), "unanswered": a.unanswered.Load(),
	}
}

// ask asks about the credential of all, which they share, when it is its turn.
func (r *Registry) ask(ctx context.Context, all []*Request) {
	a := &r.asking
	a.mu.Lock()
	defer a.mu.Unlock()
	a.groups = append(a.groups, all)
	if a.workers < atOnce {
		a.workers++
		go r.work(ctx)
	}
}

func (r *Registry) work(ctx context.Context) {
	a := &r.asking
	for {
		a.mu.Lock()
		if len(a.groups) == 0 || ctx.Err() != nil {
			a.workers--
			a.mu.Unlock()
			return
		}
		all := a.groups[0]
		a.groups[0] = nil
		a.groups = a.groups[1:]
		a.mu.Unlock()
		r.askNow(ctx, all)
	}
}

// askNow asks one of all, and what it says holds for all of them: they have one
// result, and so one credential.
func (r *Registry) askNow(ctx context.Context, all []*Request) {
	asked := again(all)
	if asked.Again == nil {
		return // all have left
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	res, err := asked.Again(ctx)
	if err == nil && !sameCaller(res.Identity, asked.Result.Identity) {
		err = fmt.Errorf("%w: %s was let in, and %s would be", errOther, asked.Result.Identity.Name, res.Identity.Name)
	}
	late := err != nil && undecided(ctx, err, asked.Result.Identity.Credential.Method)
	switch {
	case err == nil:
		r.asking.confirmed.Add(1)
	case late:
		r.asking.unanswered.Add(1)
	default:
		r.asking.refused.Add(1)
	}
	now := time.Now()
	for _, q := range all {
		q.shard.mu.Lock()
		q.answer(now, res, err, late, r.Patience)
		q.shard.mu.Unlock()
	}
}

// again returns what the first of all asked for that is still open.
func again(all []*Request) Stay {
	for _, q := range all {
		q.shard.mu.Lock()
		s := q.stay
		q.shard.mu.Unlock()
		if s.Again != nil {
			return s
		}
	}
	return Stay{}
}

// answer takes in what was said of the credential. The lock of the shard is held.
func (q *Request) answer(now time.Time, res *authn.Result, err error, late bool, patience time.Duration) {
	q.asked = false
	switch {
	case err == nil:
		q.stay.Result, q.wait, q.doubted = res, now.Add(settled), time.Time{}
	case !late:
		q.end(endingOf(err))
	case now.Sub(q.doubted) < patience:
		q.wait = now.Add(askAgain)
	default:
		q.end(Ending{Unjudged, fmt.Errorf("for %v nobody could say whether the credential is good: %w", patience, err)})
	}
}

// undecided reports whether a refusal only says that somebody did not answer. A
// refusal by the method that let the caller in is one, whatever those say that
// were asked after it.
func undecided(ctx context.Context, err error, method identity.Method) bool {
	if errors.Is(err, errOther) {
		return false
	}
	late := ctx.Err() != nil
	for _, rung := range authn.Ladder(err) {
		if rung.Found != authn.Refused {
			continue
		}
		switch {
		case rung.Kind == authn.Unavailable || rung.Kind == authn.Throttled:
			late = true
		case rung.Method == method:
			return false
		}
	}
	return late
}
