package verified

import (
	"context"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// Results is a table of verified bearer tokens.
type Results = Table[remembered, *remembered]

// NewResults is [NewTable] for [Tokens].
func NewResults(size int) (*Results, error) { return NewTable[remembered](size) }

// usualRests is how many generations most results rest on at most.
const usualRests = 3

// A remembered result has what it rests on before it, so that nothing has to be
// fetched from far away before the generations themselves are, and all that is
// looked at is side by side: in two lines of the cache, as the allocator begins
// 256 bytes at one.
type remembered struct {
	rests [usualRests]authn.Stamp // the first of Rests
	authn.Result
	_ [40]byte
}

// Fresh implements [Fresh] as [authn.Result] does.
func (r *remembered) Fresh(now time.Time) bool {
	if !r.Until.IsZero() && !now.Before(r.Until) {
		return false
	}
	for i := range r.rests {
		if !r.rests[i].Current() {
			return false
		}
	}
	for i := usualRests; i < len(r.Rests); i++ {
		if !r.Rests[i].Current() {
			return false
		}
	}
	return true
}

type tokens struct {
	table    *Results
	method   identity.Method
	verify   authn.TokenVerifier
	readings compact.Readings
	clock    Clock
}

// Tokens returns a [authn.TokenVerifier] that remembers in table what verify
// accepts, for as long as it is fresh. Several verifiers may share a table if
// their methods differ.
//
// It remembers neither refusals, nor results that neither time nor a change of
// anything would end, nor tokens longer than [authn.MaxToken]. What has less than
// two seconds left is verified anew.
func Tokens(table *Results, method identity.Method, verify authn.TokenVerifier) authn.TokenVerifier {
	return &tokens{table: table, method: method, verify: verify}
}

func (t *tokens) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	if len(token) > authn.MaxToken {
		return t.verify.VerifyToken(ctx, token, audiences)
	}
	key := t.table.Key(string(t.method), token, audiences)
	soon := t.clock.Soon()
	if known := t.table.Lookup(key, soon); known != nil {
		return &known.Result, nil
	}
	// Several of those behind are going to look whose JWT it is.
	once := t.readings.Once(ctx)
	res, err := t.verify.VerifyToken(once, token, audiences)
	// Another refusal may explain itself by what it has read.
	if err == nil || authn.Unclaimed(err) {
		once.Release()
	}
	if err == nil && res != nil && ends(res) {
		known := &Entry[remembered]{Value: remembered{Result: res.Copy()}}
		// What the verifier has made is not needed any more.
		if n := copy(known.Value.rests[:], res.Rests); n > 0 && n == len(res.Rests) {
			known.Value.Rests = known.Value.rests[:n:n]
		}
		if known.Value.Fresh(soon) {
			return &t.table.Keep(key, known, soon).Result, nil
		}
	}
	return res, err
}

// ends reports whether anything makes r stale one day.
func ends(r *authn.Result) bool { return !r.Until.IsZero() || len(r.Rests) > 0 }
