package jwt

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/compact"
)

// maxTried is how many keys are tried on one token, if it names none or several
// have its name.
const maxTried = 8

// A Key is a public key of an issuer.
type Key struct {
	// ID is the kid that tokens name it by, or "".
	ID string
	// Algorithm is the one it is meant for, or "" for every one that it fits.
	Algorithm string
	// Public is an [*rsa.PublicKey] of 2048 to 8192 bits, an [*ecdsa.PublicKey]
	// on P-256, P-384 or P-521, or an [ed25519.PublicKey].
	Public crypto.PublicKey
}

// Keys are the keys that an issuer signs with. They can be replaced at any time.
// The zero value has none.
type Keys struct {
	current   atomic.Pointer[[]*key]
	replacing sync.Mutex
}

// A key is one key, as long as it is in force without a break.
type key struct {
	Key
	verifier *compact.Key
	// name is the ID or, without one, what Kubernetes would call the key.
	name string
	// withdrawn changes when the key is. The stamp is from before that: taken
	// only once the key has verified something, it could be from after.
	withdrawn authn.Generation
	inForce   authn.Stamp
}

// Replace puts other keys in force. What a key has verified that is gone is
// ended; what one has verified that stays is not. It returns why keys are left
// out that cannot be used; if none can, that is an error and nothing changes.
func (k *Keys) Replace(keys ...Key) (passed []error, err error) {
	k.replacing.Lock()
	defer k.replacing.Unlock()
	var before []*key
	if p := k.current.Load(); p != nil {
		before = *p
	}
	next := make([]*key, 0, len(keys))
	for _, each := range keys {
		one, err := keep(before, each)
		if err != nil {
			passed = append(passed, fmt.Errorf("key %.80q: %w", each.ID, err))
			continue
		}
		next = append(next, one)
	}
	if len(next) == 0 {
		return passed, errors.Join(append([]error{errors.New("there is no key that could verify a token")}, passed...)...)
	}
	k.current.Store(&next)
	for _, old := range before {
		if !contains(next, old) {
			old.withdrawn.Bump()
		}
	}
	return passed, nil
}

// keep returns the key as it was before, or makes it.
func keep(before []*key, k Key) (*key, error) {
	for _, old := range before {
		if old.same(k) {
			return old, nil
		}
	}
	var only []string
	if k.Algorithm != "" {
		only = []string{k.Algorithm}
	} else if _, ok := k.Public.(ed25519.PublicKey); ok {
		only = []string{compact.EdDSA}
	}
	verifier, err := compact.NewKey(k.ID, k.Public, only...)
	if err != nil {
		return nil, err
	}
	made := &key{Key: k, verifier: verifier, name: k.ID}
	if k.ID == "" {
		if made.name, err = compact.KeyID(k.Public); err != nil {
			return nil, err
		}
	}
	made.inForce = made.withdrawn.Stamp()
	return made, nil
}

func (k *key) same(other Key) bool {
	public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.ID == other.ID && k.Algorithm == other.Algorithm && public.Equal(other.Public)
}

func contains(keys []*key, one *key) bool {
	for _, k := range keys {
		if k == one {
			return true
		}
	}
	return false
}

// Errors of looking for the key of a token.
var (
	errSignature = errors.New("failed to verify id token signature")
	errNoKey     = errors.New("the issuer has no such key")
)

// verifiedBy returns the key that made the signature. The error is errNoKey if
// other keys might have made it.
func (t token) verifiedBy(p *[]*key) (*key, error) {
	if p == nil {
		return nil, errNoKey
	}
	// A token that names no key may be of one that is not known yet.
	err, tried := errNoKey, 0
	for _, one := range *p {
		if t.KeyID != "" && one.ID != t.KeyID {
			continue
		}
		if t.KeyID != "" {
			err = errSignature
		}
		if !one.verifier.Accepts(t.Algorithm) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if t.Verify(one.verifier) == nil {
			return one, nil
		}
	}
	return nil, err
}

// proved says what a verified signature rests on.
type proved struct {
	key   *key
	said  saying
	until time.Time
}

// carry has a result rest on it, too.
func (p proved) carry(res *authn.Result) {
	res.Rests = append(res.Rests, p.key.inForce)
	if res.Until.IsZero() || p.until.Before(res.Until) {
		res.Until = p.until
	}
}

// prove verifies the signature of a token that was accepted otherwise.
func (i *Issuer) prove(ctx context.Context, t token, said saying) (proved, error) {
	until := said.expires
	if i.Source != nil {
		good, err := i.Source.Until()
		if err != nil {
			return proved{}, err
		}
		if good.Before(until) {
			until = good
		}
	}
	keys := i.Keys.current.Load()
	k, err := t.verifiedBy(keys)
	if errors.Is(err, errNoKey) {
		k, err = i.verifyRenewed(ctx, t, keys)
	}
	if err != nil {
		return proved{}, err
	}
	return proved{k, said, until}, nil
}

// verifyRenewed looks for a key that the issuer may have published since, and
// that is not among those that were tried.
func (i *Issuer) verifyRenewed(ctx context.Context, t token, tried *[]*key) (*key, error) {
	err := errSignature
	if t.KeyID != "" {
		err = fmt.Errorf("%w: %.80q", errNoKey, t.KeyID)
	}
	if i.Source == nil {
		return nil, err
	}
	if authn.IsRehearsal(ctx) {
		return nil, fmt.Errorf("%w among those known now; the issuer would be asked for new ones", err)
	}
	var k *key
	again := errNoKey
	found := func() bool {
		if now := i.Keys.current.Load(); now != tried {
			tried = now
			k, again = t.verifiedBy(now)
		}
		return !errors.Is(again, errNoKey)
	}
	renewed := i.Source.Renew(ctx, found)
	switch {
	case found():
		return k, again
	case renewed != nil:
		return nil, fmt.Errorf("%w (%w)", err, renewed)
	}
	return nil, err
}
