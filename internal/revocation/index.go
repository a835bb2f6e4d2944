// Package revocation knows what was taken back, and judges by it.
//
// The one idea: a revoked credential is found by what names it, and not by
// looking through what is revoked. An [Index] is a hash table of the names, so
// that a judgement costs the same with a million Revocations as with one; and a
// caller who was judged once is not judged again until something more is revoked:
// see [Index.JudgeResult]. What was verified of credentials stays remembered
// through all that, so a Revocation makes nobody verify anything anew.
//
// Readers never wait for a writer. A change is in force for every judgement that
// begins after it returned.
//
// The package refuses whoever a Revocation hits, by himself, by who acts as him,
// or by the certificate of the proxy that names him; and Revocations that it does
// not understand, which have to be told to somebody.
package revocation

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
)

// A what is what a key names.
type what uint8

const (
	byUser what = iota
	byGroup
	byCredentialID
	bySerial // and name of the issuer
	byChain  // of renewals
	byDigest // of a certificate or a token
	byToken  // issuer and jti
	byKey    // issuer or "", and ID
	byIssuer
	// Only an ID, for callers of whom nothing else is known.
	byJTI
	byFingerprint
	kinds
)

// A key names what is revoked, in one or two parts.
type key struct {
	what what
	a, b string
}

// A rule is one Revocation in the index.
type rule struct {
	name, target, reason, message string
	// before is zero where it does not matter when something was issued.
	before time.Time
}

// forgetGone is how long it is remembered that a Revocation is gone. A watch that
// is late by more than that has lost its place, and lists anew.
const forgetGone = 10 * time.Minute

// An Index knows the Revocations in force. Use [New]. All methods may be called
// at the same time.
type Index struct {
	seed    maphash.Seed
	table   table
	of      [kinds]atomic.Int64 // rules of each kind
	judged  authn.Generation
	current atomic.Pointer[authn.Stamp]

	mu    sync.Mutex // held by writers
	known map[types.UID]*known
	// gone are those that were deleted of late, and when: what was seen of one
	// before its deletion may be told after it.
	gone   map[types.UID]time.Time
	swept  time.Time
	notify []func()
}

// known is what the index has of a Revocation.
type known struct {
	rule *rule
	keys []key
}

// New returns an index that has nothing.
func New() *Index {
	x := &Index{seed: maphash.MakeSeed(), known: map[types.UID]*known{}, gone: map[types.UID]time.Time{}}
	x.proceed()
	return x
}

// proceed ends what was judged so far.
func (x *Index) proceed() {
	x.judged.Bump()
	stamp := x.judged.Stamp()
	x.current.Store(&stamp)
}

// Stamp returns a stamp that is current until something more is revoked.
func (x *Index) Stamp() authn.Stamp { return *x.current.Load() }

// Notify has f called after each change that revokes something more. It must not
// block.
func (x *Index) Notify(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.notify = append(x.notify, f)
}

// Len returns how many Revocations are in force.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.known)
}

// Put has a Revocation in force when it returns. It fails if the Revocation does
// not say what is revoked in a way that is understood here: then nothing of it is
// in force. A Revocation never changes, so one that is known stays as it is.
func (x *Index) Put(r *v1alpha1.Revocation) error {
	keys, err := keysOf(&r.Spec)
	if err != nil {
		return fmt.Errorf("revocation %s: %w", r.Name, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, gone := x.gone[r.UID]; gone || x.known[r.UID] != nil {
		return nil
	}
	k := &known{rule: ruleOf(r), keys: keys}
	x.known[r.UID] = k
	for _, key := range keys {
		hash := x.hash(&key)
		x.table.set(hash, key, append(slices.Clone(x.table.get(hash, &key)), k.rule))
		x.of[key.what].Add(1)
	}
	x.proceed()
	for _, f := range x.notify {
		f()
	}
	return nil
}

// Remove lifts a Revocation. Nothing that was judged is judged anew for that:
// who was let in stays in, and refusals are not remembered.
func (x *Index) Remove(r *v1alpha1.Revocation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	x.gone[r.UID] = now
	x.sweep(now)
	k := x.known[r.UID]
	if k == nil {
		return
	}
	delete(x.known, r.UID)
	for _, key := range k.keys {
		hash := x.hash(&key)
		rest := slices.DeleteFunc(slices.Clone(x.table.get(hash, &key)), func(r *rule) bool { return r == k.rule })
		x.table.set(hash, key, rest)
		x.of[key.what].Add(-1)
	}
}

// sweep forgets what is gone for long. The lock is held.
func (x *Index) sweep(now time.Time) {
	if now.Sub(x.swept) < time.Minute {
		return
	}
	x.swept = now
	for uid, at := range x.gone {
		if now.Sub(at) > forgetGone {
			delete(x.gone, uid)
		}
	}
}

func ruleOf(r *v1alpha1.Revocation) *rule {
	out := &rule{name: r.Name, target: r.Spec.Target(), reason: string(r.Spec.Reason), message: r.Spec.Message}
	if r.Spec.IssuedBefore != nil {
		out.before = r.Spec.IssuedBefore.Time
	}
	return out
}

// keysOf returns what a Revocation is found by.
func keysOf(s *v1alpha1.RevocationSpec) ([]key, error) {
	if named := s.Named(); len(named) != 1 {
		return nil, fmt.Errorf("it names %d things that can be revoked, and has to name one of those that are known to this version", len(named))
	}
	switch {
	case s.Certificate != nil:
		return keysOfCertificate(s.Certificate)
	case s.Token != nil:
		return keysOfToken(s.Token)
	case s.Key != nil:
		return []key{{byKey, s.Key.Issuer, s.Key.ID}}, nil
	case s.CredentialID != "":
		return []key{{what: byCredentialID, a: s.CredentialID}}, nil
	case s.User != "":
		return []key{{what: byUser, a: s.User}}, nil
	case s.Group != "":
		return []key{{what: byGroup, a: s.Group}}, nil
	case s.ServiceAccount != nil:
		return []key{{what: byUser, a: userOf(s.ServiceAccount)}}, nil
	}
	return []key{{what: byIssuer, a: s.Issuer}}, nil
}

func keysOfCertificate(c *v1alpha1.RevokedCertificate) ([]key, error) {
	var keys []key
	if c.Issuer != "" && c.SerialNumber != "" {
		keys = append(keys, key{bySerial, c.Issuer, c.SerialNumber})
	}
	if c.TBSSHA256 != "" {
		keys = append(keys, key{what: byDigest, a: c.TBSSHA256})
	}
	if len(keys) == 0 {
		return nil, errors.New("it names a certificate neither by issuer and serial number nor by what is signed of it")
	}
	if c.SHA256 != "" {
		keys = append(keys, key{what: byFingerprint, a: c.SHA256})
	}
	if c.Chain != "" {
		keys = append(keys, key{what: byChain, a: c.Chain})
	}
	return keys, nil
}

func keysOfToken(t *v1alpha1.RevokedToken) ([]key, error) {
	var keys []key
	if t.Issuer != "" && t.JTI != "" {
		keys = append(keys, key{byToken, t.Issuer, t.JTI}, key{what: byJTI, a: t.JTI})
	}
	if t.SigningInputSHA256 != "" {
		keys = append(keys, key{what: byDigest, a: t.SigningInputSHA256})
	}
	if len(keys) == 0 {
		return nil, errors.New("it names a token neither by issuer and jti nor by what is signed of it")
	}
	return keys, nil
}

// hash chooses a place in the table. The keys there are compared.
func (x *Index) hash(k *key) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	h.WriteByte(byte(k.what))
	h.WriteString(k.a)
	h.WriteByte(0)
	h.WriteString(k.b)
	return h.Sum64()
}
