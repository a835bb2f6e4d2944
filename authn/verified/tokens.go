package verified

import (
	"context"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// Results is a table of verified bearer tokens.
type Results = Table[*authn.Result]

type tokens struct {
	table  *Results
	method identity.Method
	verify authn.TokenVerifier
}

// Tokens returns a [authn.TokenVerifier] that remembers in table what verify
// accepts, for as long as it is fresh. Several verifiers may share a table if
// their methods differ.
//
// It remembers neither refusals, nor results that neither time nor a change of
// anything would end, nor tokens longer than [authn.MaxToken].
func Tokens(table *Results, method identity.Method, verify authn.TokenVerifier) authn.TokenVerifier {
	return &tokens{table, method, verify}
}

func (t *tokens) VerifyToken(ctx context.Context, token string, audiences []string) (*authn.Result, error) {
	if len(token) > authn.MaxToken {
		return t.verify.VerifyToken(ctx, token, audiences)
	}
	key := t.table.Key(string(t.method), token, audiences)
	now := time.Now()
	if res := t.table.Lookup(key, now); res != nil {
		return res, nil
	}
	// Several of those behind are going to look whose JWT it is.
	res, err := t.verify.VerifyToken(compact.Once(ctx), token, audiences)
	if err == nil && res != nil && ends(res) {
		t.table.Store(key, res, now)
	}
	return res, err
}

// ends reports whether anything makes r stale one day.
func ends(r *authn.Result) bool { return !r.Until.IsZero() || len(r.Rests) > 0 }
