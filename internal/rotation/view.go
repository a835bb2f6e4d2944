package rotation

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"gatehouse.dev/gatehouse/internal/keyring"
)

// NewKey makes a key on the curve P-256.
func NewKey() (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making a signing key: %w", err)
	}
	key, err := Of(private.Public())
	if err != nil {
		return Key{}, err
	}
	if key.Private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return Key{}, fmt.Errorf("making a signing key: %w", err)
	}
	return key, nil
}

// Of returns the public half of a key.
func Of(public crypto.PublicKey) (Key, error) {
	known, err := keyring.KeyOf(public)
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encoding a signing key: %w", err)
	}
	return Key{ID: known.ID, Algorithm: known.Algorithm, Public: der}, nil
}

// take puts a set in force that was asked for at a time, unless a later one is.
func (k *Keeper) take(set Set, revision int64, began time.Time) error {
	k.taking.Lock()
	defer k.taking.Unlock()
	if in := k.view.Load(); in != nil && in.revision >= revision {
		if in.revision == revision {
			in.confirmed.Store(max(in.confirmed.Load(), int64(began.Sub(k.begun))))
			return k.release()
		}
		return nil
	}
	next := &view{set: set, revision: revision}
	next.confirmed.Store(int64(began.Sub(k.begun)))
	var err error
	if next.ring, err = k.ring(set); err != nil {
		return err
	}
	if !k.Watches {
		if next.signs = next.set.in(Signing); next.signs == nil || !next.ring.Signs() {
			return errors.New("the store has no key that this process can sign with")
		}
	}
	if err := k.Take(next.ring, set.withdrawn()); err != nil {
		return fmt.Errorf("taking the signing keys of the store: %w", err)
	}
	k.view.Store(next)
	return k.release()
}

// ring returns the keys whose tokens are good, with the one that signs.
func (k *Keeper) ring(set Set) (*keyring.Ring, error) {
	var signer crypto.Signer
	var public []crypto.PublicKey
	for i := range set.Keys {
		key := &set.Keys[i]
		if !key.Lives() {
			continue
		}
		parsed, err := x509.ParsePKIXPublicKey(key.Public)
		if err != nil {
			return nil, fmt.Errorf("the public half of the signing key %s in the store cannot be read", key.ID)
		}
		public = append(public, parsed)
		if key.State == Signing && !k.Watches {
			if signer, err = k.signer(key); err != nil {
				return nil, err
			}
		}
	}
	return keyring.Compose(signer, public...)
}

// signer returns the private half of a key.
func (k *Keeper) signer(key *Key) (crypto.Signer, error) {
	if key.File {
		if signer := k.Private(key.ID); signer != nil {
			return signer, nil
		}
		return nil, fmt.Errorf("%w: key %s signs", ErrNoPrivate, key.ID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key.Private)
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("the private half of the signing key %s in the store cannot be read", key.ID)
	}
	return signer, nil
}

// Sign returns claims as a token. Before the first token that lives so long is
// signed with a key, the store knows. A zero expiry is none, and the token one
// that a Secret is to hold.
func (k *Keeper) Sign(ctx context.Context, claims any, expires time.Time) (string, error) {
	for {
		v, err := k.fresh(ctx)
		if err != nil {
			return "", err
		}
		endless := expires.IsZero()
		seconds := int64(0)
		if !endless {
			seconds = int64((time.Until(expires) + time.Second - 1) / time.Second)
		}
		if v.signs.covers(seconds, endless) {
			return v.ring.Sign(claims)
		}
		id := v.signs.ID
		err = k.change(ctx, func(s *Set) (bool, error) { return s.raise(id, seconds, endless) })
		if err != nil && !errors.Is(err, errNotSigning) {
			return "", err
		}
	}
}

// fresh returns a view that was the store's not long ago: a key that has ceased
// to sign must not go on for longer than it is waited for.
func (k *Keeper) fresh(ctx context.Context) (*view, error) {
	if v := k.view.Load(); k.isFresh(v) {
		return v, nil
	}
	if err := k.confirms.Do(ctx); err != nil {
		return nil, fmt.Errorf("the signing keys may have changed: %w", err)
	}
	if v := k.view.Load(); k.isFresh(v) {
		return v, nil
	}
	return nil, errors.New("the store does not have the signing keys that this process has")
}

func (k *Keeper) isFresh(v *view) bool { return k.age(v, time.Now()) <= stale }

// age returns how long ago it was that the store is known to have had a view.
func (k *Keeper) age(v *view, now time.Time) time.Duration {
	return now.Sub(k.begun) - time.Duration(v.confirmed.Load())
}
