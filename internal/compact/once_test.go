package compact_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
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
	for name, ctx := range map[string]context.Context{"once": new(compact.Readings).Once(t.Context()), "each time": t.Context()} {
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

// What is read in memory that had another token is what is read in new memory.
func FuzzReleased(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	jwt := func(header, payload string) string {
		return strings.Join([]string{part([]byte(header)), part([]byte(payload)), part([]byte("signature"))}, ".")
	}
	plain := jwt(`{"alg":"RS256"}`, `{"iss":"a","aud":["b"]}`)
	for _, other := range []string{
		plain, "", "..", plain[:len(plain)-1],
		jwt(`{"alg":"ES256","kid":"k","typ":"JWT"}`, `{"\u0069ss":"\u0061","sub":{"a":[{}]}}`),
		jwt(`{"alg":"none","kid":"k"}`, `{}`),
		jwt(`{"alg":"RS256"}`, `{"iss":1}`),
		jwt(`{"alg":"RS256"}`, `{"iss":"a","iss":"b"}`),
		jwt(`{"alg":"RS256"}`, `{"long":"`+strings.Repeat("x", 2000)+`"}`),
	} {
		f.Add(plain, other)
		f.Add(other, plain)
	}
	f.Fuzz(func(t *testing.T, before, text string) {
		var readings compact.Readings
		for _, text := range []string{before, text, text, before} {
			once := readings.Once(t.Context())
			got, want := told(once, text), told(t.Context(), text)
			if once.Release(); got != want {
				t.Fatalf("%q behind %q:\n%s, want\n%s", text, before, got, want)
			}
		}
	})
}

// told is all that a token says, or why it says nothing.
func told(ctx context.Context, text string) string {
	token, claims, err := compact.Read(ctx, text)
	if err != nil {
		return err.Error()
	}
	issuer, err := token.Issuer()
	all := []string{token.Algorithm, token.KeyID, token.Type, issuer, fmt.Sprint(err), string(token.Payload()), token.Digest()}
	for name, raw := range claims.All() {
		all = append(all, name, string(raw))
	}
	return fmt.Sprintf("%q", all)
}

// A text that was released is not in memory any more, where it could be taken for
// that of the next.
func TestReleaseWipes(t *testing.T) {
	var readings compact.Readings
	once := readings.Once(t.Context())
	token, _, err := compact.Read(once, "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl")
	if err != nil {
		t.Fatal(err)
	}
	payload := token.Payload()
	once.Release()
	if slices.ContainsFunc(payload, func(b byte) bool { return b != 0 }) {
		t.Errorf("%q is left", payload)
	}
	once.Release() // again, which is nothing
	const one, other = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.MQ", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJiIn0.MQ"
	first, _, _ := compact.Read(readings.Once(t.Context()), one)
	second, _, _ := compact.Read(readings.Once(t.Context()), other)
	if a, b := string(first.Payload()), string(second.Payload()); a != `{"iss":"a"}` || b != `{"iss":"b"}` {
		t.Errorf("two tokens at a time are %s and %s", a, b)
	}
}
