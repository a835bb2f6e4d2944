package jwt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// lookAgain is how long a claim counts that was kept elsewhere. Nobody tells us
// when it changes; Kubernetes keeps any token so long.
const lookAgain = 10 * time.Second

// kept is a claim that was kept elsewhere, as the only member of its object, and
// the token that it was in.
type kept struct {
	proof *proved
	claim compact.Object
	token identity.Credential
}

// expand adds to the claims the one that is kept elsewhere, if the token says so
// (OpenID Connect Core 1.0 section 5.6.2), and returns where it was, or nil.
// The token was verified, so it is the issuer who says where to look; still,
// what is fetched is up to Fetch, and only issuers that are configured may
// vouch for it.
func (i *Issuer) expand(ctx context.Context, c *Claims, all map[string]*Issuer, now time.Time) (*kept, error) {
	endpoint, accessToken, err := i.whereElse(c.object)
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
	text, err := i.Fetch(ctx, endpoint, accessToken)
	if err != nil {
		return nil, fmt.Errorf("while getting distributed claim %q: %w", i.Distributed, err)
	}
	found, err := i.readElsewhere(ctx, text, all, now)
	if err != nil {
		return nil, fmt.Errorf("verify distributed claim token: %w", err)
	}
	c.elsewhere = found.claim
	return found, nil
}

// readElsewhere verifies the token that was fetched, and takes the claim.
func (i *Issuer) readElsewhere(ctx context.Context, text string, all map[string]*Issuer, now time.Time) (*kept, error) {
	t, err := parse(ctx, text)
	if err != nil {
		return nil, err
	}
	by := all[t.issuer]
	if by == nil {
		return nil, authn.Pass(identity.JWT, unknown(t.issuer))
	}
	if err := (trial{i, t, now}).accepts(); err != nil {
		return nil, err
	}
	proof, err := by.prove(ctx, t)
	if err != nil {
		return nil, err
	}
	if !t.claims.Has(i.Distributed) {
		return nil, fmt.Errorf("it has no claim %q", i.Distributed)
	}
	if until := now.Add(lookAgain); until.Before(proof.until) {
		proof.until = until
	}
	return &kept{proof, t.claims.Only(i.Distributed), by.credential(t, proof.key)}, nil
}

// whereElse returns where the claim is kept, or "" if it is not kept elsewhere.
func (i *Issuer) whereElse(o compact.Object) (endpoint, accessToken string, err error) {
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
