// Package statictoken verifies bearer tokens that stand in a file: Kubernetes'
// --token-auth-file ([Open]), or a file of hashed tokens that expire
// ([OpenHashed]).
//
// The first is read exactly as Kubernetes reads it. Both are followed: a change
// takes effect at once, and every verification that rests on what the file said
// before is forgotten. A bad file changes nothing; [Verifier.Status] says what
// is wrong with it.
//
// The one idea: the tokens themselves are not kept, only keyed digests of them,
// so that neither a memory image nor the time of a look-up tells a token.
//
// It refuses a record without a user name, and drops empty group names.
package statictoken

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/reload"
)

// minKey is the least length of the digest key, that of what SHA-256 gives.
const minKey = 32

// A Config says where the tokens are.
type Config struct {
	// Path is the token file.
	Path string
	// Key is the secret, of 32 bytes or more, that digests of tokens are made
	// with. With the same key on every replica a token has the same
	// [identity.Credential.ID] on all of them.
	Key []byte
	// Audiences are those of the server.
	Audiences []string
	// Notify, which may be nil, is called after each later reading of the file:
	// with nil once it is in force, or with what is wrong.
	Notify func(error)
}

// A Verifier verifies the tokens in a file.
type Verifier struct {
	path      string
	digests   *digester
	unknown   error // what is said of a token that is not in the file
	audiences []string
	notify    func(error)
	file      *reload.File[*contents]
	current   atomic.Pointer[contents]
}

var (
	errUnknown  = authn.Pass(identity.StaticToken, "no record has this token")
	errUnhashed = authn.Pass(identity.StaticToken, "no line has the hash of this token")
	errAudience = authn.Pass(identity.StaticToken, "the token is not for the audiences asked for")
)

// Describe implements [authn.Described].
func (v *Verifier) Describe() (identity.Method, string) { return identity.StaticToken, v.path }

// Open reads the token file. It fails if the file is bad.
func Open(c Config) (*Verifier, error) {
	return open(c, &Verifier{unknown: errUnknown}, (*Verifier).read)
}

// open completes v, which reads its file by read.
func open(c Config, v *Verifier, read func(*Verifier, []byte) (*contents, error)) (*Verifier, error) {
	if len(c.Key) < minKey {
		return nil, fmt.Errorf("digest key has %d bytes: need %d or more", len(c.Key), minKey)
	}
	if c.Path == "" {
		return nil, errors.New("no path of a token file")
	}
	v.path, v.digests, v.audiences, v.notify = c.Path, newDigester(c.Key), slices.Clone(c.Audiences), c.Notify
	file, err := reload.Open(c.Path, func(data []byte) (*contents, error) { return read(v, data) }, v.changed)
	if err != nil {
		return nil, err
	}
	v.file = file
	v.current.Store(file.Value())
	return v, nil
}

// Run follows the file until ctx ends.
func (v *Verifier) Run(ctx context.Context) { v.file.Run(ctx) }

// changed puts what the file says in force, and ends what it said before.
func (v *Verifier) changed(problem error) {
	if problem == nil {
		next := v.file.Value()
		if before := v.current.Swap(next); before != next {
			before.inForce.Bump()
		}
	}
	if v.notify != nil {
		v.notify(problem)
	}
}

// Status returns how reading the file has gone so far.
func (v *Verifier) Status() reload.Status { return v.file.Status() }

// Warnings returns what is odd but allowed in the file as it is in force.
func (v *Verifier) Warnings() []string { return slices.Clone(v.current.Load().warnings) }

// VerifyToken implements [authn.TokenVerifier]. A token in the file is meant
// for the server as a whole.
func (v *Verifier) VerifyToken(_ context.Context, token string, audiences []string) (*authn.Result, error) {
	res := v.current.Load().find(v, token)
	if res == nil {
		return nil, v.unknown
	}
	if !res.Until.IsZero() {
		if now := time.Now(); !now.Before(res.Until) {
			return nil, expired(res, now)
		}
	}
	if len(audiences) == 0 {
		return res, nil
	}
	both, ok := authn.Audiences(v.audiences, audiences)
	if !ok {
		return nil, authn.Explained(errAudience, "", func() authn.Facts {
			return authn.Facts{Checks: []authn.Check{authn.AudienceCheck(v.audiences, audiences)}}
		})
	}
	narrowed := res.Copy()
	narrowed.Audiences = both
	return &narrowed, nil
}

// find returns the result for a token, or nil if the file does not have it.
func (c *contents) find(v *Verifier, token string) *authn.Result {
	if c.table == nil {
		return c.tokens[sha256.Sum256([]byte(token))]
	}
	place := c.table.find(token)
	if place == nil {
		return nil
	}
	if res := place.result.Load(); res != nil {
		return res
	}
	name, uid, groups := c.table.read(place)
	place.result.CompareAndSwap(nil, &authn.Result{
		Identity: &identity.Identity{
			Name:       name,
			UID:        uid,
			Groups:     identity.WithAuthenticated(name, groups),
			Credential: identity.Credential{Method: identity.StaticToken, ID: v.digests.name(token)},
		},
		Audiences: v.audiences,
		Rests:     c.rests,
	})
	return place.result.Load()
}
