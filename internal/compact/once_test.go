package compact_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
)

// Whoever reads a token gets that token, whatever was read before it.
func TestOnce(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	jwt := func(payload string) string {
		return strings.Join([]string{part([]byte(`{"alg":"RS256"}`)), part([]byte(payload)), part([]byte("signature"))}, ".")
	}
	first, second := jwt(`{"iss":"a"}`), jwt(`{"iss":"b"}`)
	steps := []struct{ text, issuer, err string }{
		{first, "a", ""},
		{first, "a", ""},
		{second, "b", ""},
		{"", "", "token has not three parts"},
		{first, "a", ""},
		{first[:len(first)-1], "", "signature: "},
		{jwt(`[]`), "", "payload: not a JSON object"},
		{jwt(`[]`), "", "payload: not a JSON object"},
		{second, "b", ""},
	}
	for name, ctx := range map[string]context.Context{"once": compact.Once(t.Context()), "each time": t.Context()} {
		var last *compact.Token
		for i, step := range steps {
			token, claims, err := compact.Read(ctx, step.text)
			if step.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), step.err) || token != nil {
					t.Errorf("%s: step %d: %v, %v, want an error %q", name, i, token, err, step.err)
				}
				continue
			}
			if issuer, _ := claims.String("iss"); err != nil || issuer != step.issuer || token == nil {
				t.Errorf("%s: step %d: issuer %q, %v, want %q", name, i, issuer, err, step.issuer)
			}
			if again := i == 1; again && (token == last) != (name == "once") {
				t.Errorf("%s: the same token is read anew: %t", name, token != last)
			}
			last = token
		}
	}
}
