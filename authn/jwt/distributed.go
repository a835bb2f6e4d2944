package jwt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/flight"
)

// lookAgain is how long a claim counts that was kept elsewhere. Nobody tells us
// when it changes; Kubernetes keeps any token so long.
const lookAgain = 10 * time.Second

// fetchLimit is how long a claim is fetched at most, its turn and the keys of who
// vouches for it included.
const fetchLimit = 30 * time.Second

// elsewhere is what it takes to get a claim that is kept elsewhere: whoever may
// vouch for it, what is being fetched for all who want it, and what could not be.
type elsewhere struct {
	issuers  map[string]*Issuer
	fetching *flight.Group[fetch, *kept]
	failed   *failures
}

// A fetch is for one token of an issuer. Another configuration has another one.
type fetch struct {
	by     *Issuer
	digest string
}

const (
	// failedFor is how long a claim that could not be had is not fetched again.
	failedFor = time.Second
	// mostFailed is of how many tokens that is remembered, of up to some KiB each.
	mostFailed = 1024
)

// failures are the fetches that failed of late, so that who asks again and again
// with such a token does not have its claim fetched each time. What is past the
// bound is fetched. Nothing is kept for longer than twice failedFor: what failed
// explains itself by the token.
type failures struct {
	mu       sync.Mutex
	of       map[fetch]failure
	sweeping bool // a timer is going to
}

type failure struct {
	err   error
	until time.Time
}

// recall returns why the fetch has just failed, or nil.
func (f *failures) recall(key fetch, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one, ok := f.of[key]; ok && now.Before(one.until) {
		return one.err
	}
	return nil
}

func (f *failures) note(key fetch, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.of) >= mostFailed {
		f.forget(now)
	}
	if f.of == nil {
		f.of = map[fetch]failure{}
	}
	if len(f.of) < mostFailed {
		f.of[key] = failure{err, now.Add(failedFor)}
	}
	if !f.sweeping {
		f.sweeping = true
		time.AfterFunc(failedFor, f.sweep)
	}
}

// forget takes out what is not of late any more. The lock is held.
func (f *failures) forget(now time.Time) {
	maps.DeleteFunc(f.of, func(_ fetch, one failure) bool { return !now.Before(one.until) })
}

// sweep forgets, and goes on as long as there is something.
func (f *failures) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(time.Now())
	if f.sweeping = len(f.of) > 0; f.sweeping {
		time.AfterFunc(failedFor, f.sweep)
	}
}

// kept is a claim that was kept elsewhere, as the only member of its object, and
// the token that it was in.
type kept struct {
	proof proved
	claim *compact.Object
	token identity.Credential
}

// expand adds to the claims the one that is kept elsewhere, if the token says so
// (OpenID Connect Core 1.0 section 5.6.2), and returns where it was, or nil.
// The token was verified, so it is the issuer who says where to look; still,
// what is fetched is up to Fetch, and only issuers that are configured may
// vouch for it. However many present the token, it is fetched once at a time, and
// not again right after that has failed.
func (i *Issuer) expand(ctx context.Context, t token, said saying, c *Claims, other elsewhere, now time.Time) (*kept, error) {
	if !said.elsewhere {
		return nil, nil
	}
	endpoint, accessToken, err := i.whereElse(t.claims)
	if err != nil {
		return nil, fmt.Errorf("could not expand distributed claims: %w", err)
	}
	if endpoint == "" {
		return nil, nil
	}
	if i.Fetch == nil {
		return nil, fmt.Errorf("the claim %q is kept elsewhere, and may not be fetched", i.Distributed)
	}
	if authn.IsRehearsal(ctx) {
		return nil, fmt.Errorf("the claim %q is kept elsewhere, and would be fetched from there", i.Distributed)
	}
	key := fetch{i, t.Digest()}
	if err := other.failed.recall(key, now); err != nil {
		return nil, err
	}
	found, err := other.fetching.Do(ctx, key, fetchLimit, func(ctx context.Context) (*kept, error) {
		found, err := i.fetch(ctx, endpoint, accessToken, other.issuers, now)
		if err != nil && ctx.Err() == nil && authn.FactsOf(err).Kind != authn.Throttled {
			other.failed.note(key, err, time.Now())
		}
		return found, err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("while getting distributed claim %q: the caller did not wait for it", i.Distributed)
		}
		return nil, err
	}
	c.elsewhere = found.claim
	return found, nil
}

// fetch gets the token from where it is kept, and takes the claim.
func (i *Issuer) fetch(ctx context.Context, endpoint, accessToken string, all map[string]*Issuer, now time.Time) (*kept, error) {
	text, err := i.Fetch(ctx, endpoint, accessToken)
	if err != nil {
		return nil, fmt.Errorf("while getting distributed claim %q: %w", i.Distributed, err)
	}
	found, err := i.readElsewhere(ctx, text, all, now)
	if err != nil {
		return nil, fmt.Errorf("verify distributed claim token: %w", err)
	}
	return found, nil
}

// readElsewhere verifies the token that was fetched, and takes the claim.
func (i *Issuer) readElsewhere(ctx context.Context, text string, all map[string]*Issuer, now time.Time) (*kept, error) {
	// Not with ctx, in which whoever came first has what he reads.
	o, err := open(context.Background(), text)
	if err != nil {
		return nil, err
	}
	t, err := o.read()
	if err != nil {
		return nil, err
	}
	by := all[t.issuer]
	if by == nil {
		return nil, authn.Pass(identity.JWT, unknown(t.issuer))
	}
	said, err := trial{i, t, now}.accepts()
	if err != nil {
		return nil, err
	}
	proof, err := by.prove(ctx, t, said)
	if err != nil {
		return nil, err
	}
	if !t.claims.Has(i.Distributed) {
		return nil, fmt.Errorf("it has no claim %q", i.Distributed)
	}
	if until := now.Add(lookAgain); until.Before(proof.until) {
		proof.until = until
	}
	claim := t.claims.Only(i.Distributed)
	found := &kept{proof: proof, claim: &claim}
	by.vouch(&found.token, t, proof)
	return found, nil
}

// whereElse returns where the claim is kept, or "" if it is not kept elsewhere.
func (i *Issuer) whereElse(o *compact.Object) (endpoint, accessToken string, err error) {
	names, err := o.Object("_claim_names")
	if err != nil {
		return "", "", err
	}
	sources, err := o.Object("_claim_sources")
	if err != nil {
		return "", "", err
	}
	for name := range names.All() {
		source, err := names.String(name)
		if err != nil {
			return "", "", err
		}
		if source == "" || !sources.Has(source) {
			return "", "", errors.New("a claim name has no claim source")
		}
	}
	if i.Distributed == "" || o.Has(i.Distributed) || !names.Has(i.Distributed) {
		return "", "", nil
	}
	name, err := names.String(i.Distributed)
	if err != nil {
		return "", "", err
	}
	source, err := sources.Object(name)
	if err != nil {
		return "", "", err
	}
	if endpoint, err = source.String("endpoint"); err != nil {
		return "", "", err
	}
	accessToken, err = source.String("access_token")
	return endpoint, accessToken, err
}
