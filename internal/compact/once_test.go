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

// A token that is read up to its issuer, and then on, says what it says if it is
// read at once, and whose it is in the same way; and nothing of it is taken that
// would not be taken then.
func FuzzOpen(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	for _, payload := range []string{
		`{"iss":"a"}`, `{"aud":"b","iss":"a","exp":1}`, `{"iss":"a","iss":"b"}`, `{"iss":"a","\u0069ss":"b"}`, `{"\u0069\u0073s":"\u0061"}`,
		`{"a":{"iss":"b"}}`, `{"a":[{"iss":"b"}],"iss":"a"}`, `{"iss":"a"`, `{"iss":"a",}`, `{"iss":"a"}}`, `{"iss":"a"} {}`, `{"iss":1,"a":2}`,
		`{"iss":null}`, `{"iss":"a","b":{"c":1,"c":2}}`, ` {"iss" : "a" , "x" : [ ] } `, `{}`, `[]`, `{"iss":"\ud800"}`, `{"a":1,"a":2,"iss":"a"}`,
	} {
		f.Add(`{"alg":"RS256","kid":"k"}`, payload, "signature")
	}
	f.Add(`{"alg":"ES256"}`, `{"iss":"a"}`, "")
	f.Add(`{"alg":"none"}`, `{"iss":"a"}`, "signature")
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		text := strings.Join([]string{part([]byte(header)), part([]byte(payload)), part([]byte(signature))}, ".")
		var claims compact.Object
		whole, bad := compact.Parse(text)
		if bad == nil {
			claims, bad = compact.ParseObject([]byte(payload))
		}
		var readings compact.Readings
		for _, ctx := range []context.Context{t.Context(), readings.Once(t.Context())} {
			r, err := compact.Open(ctx, text)
			if err != nil {
				if r != nil || bad == nil {
					t.Fatalf("%q: %v, but at once %v", text, err, bad)
				}
				continue
			}
			issuer, noIssuer := r.Issuer()
			token, got, err := r.All()
			if (err == nil) != (bad == nil) || (token == nil) != (err != nil) {
				t.Fatalf("%q: %v, but at once %v", text, err, bad)
			}
			if err != nil {
				continue
			}
			want, wrong := claims.String("iss")
			again, _ := token.Issuer()
			if issuer != want || again != want || fmt.Sprint(noIssuer) != fmt.Sprint(wrong) {
				t.Errorf("%q: issuer %q, then %q, %v, but at once %q, %v", text, issuer, again, noIssuer, want, wrong)
			}
			if a, b := all(*got), all(claims); !slices.Equal(a, b) {
				t.Errorf("%q: %q, but at once %q", text, a, b)
			}
			if token.Algorithm != whole.Algorithm || token.KeyID != whole.KeyID || token.Type != whole.Type || token.Digest() != whole.Digest() {
				t.Errorf("%q: %+v, but at once %+v", text, token, whole)
			}
		}
	})
}

// all are the members of an object, and what is in those that are objects too.
func all(o compact.Object) (members []string) {
	for name, raw := range o.All() {
		members = append(members, name, string(raw))
		if inner, err := o.Object(name); err == nil {
			members = append(members, all(inner)...)
		}
	}
	return members
}

// told is all that a token says, or why it says nothing.
func told(ctx context.Context, text string) string {
	token, claims, err := compact.Read(ctx, text)
	if err != nil {
		return err.Error()
	}
	issuer, err := token.Issuer()
	said := []string{token.Algorithm, token.KeyID, token.Type, issuer, fmt.Sprint(err), string(token.Payload()), token.Digest()}
	return fmt.Sprintf("%q", append(said, all(*claims)...))
}

// A text that was released is not in memory any more, where it could be taken for
// that of the next.
func TestReleaseWipes(t *testing.T) {
	var readings compact.Readings
	once := readings.Once(t.Context())
	for name, text := range map[string]string{
		"whole":            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl",
		"half":             "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIiwic3ViIjoiYiJ9.c2lnbmF0dXJl",
		"longer header":    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEgbG9uZyBuYW1lIG9mIGEga2V5In0.e30.MQ",
		"no header":        "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJhIn0.c2lnbmF0dXJl",
		"no payload":       "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIiwi.c2lnbmF0dXJl",
		"half a payload":   "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0*.c2lnbmF0dXJl",
		"half a signature": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl*",
	} {
		r, err := compact.Open(once, text)
		if err == nil && name != "half" {
			_, _, _ = r.All()
		}
		memory := compact.Memory(once)
		if !slices.ContainsFunc(memory, func(b byte) bool { return b != 0 }) {
			t.Errorf("%s: nothing was read", name)
		}
		once.Release()
		if slices.ContainsFunc(memory, func(b byte) bool { return b != 0 }) {
			t.Errorf("%s: %q is left", name, memory)
		}
	}
	once.Release() // again, which is nothing
	const one, other = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.MQ", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJiIn0.MQ"
	first, _, _ := compact.Read(readings.Once(t.Context()), one)
	second, _, _ := compact.Read(readings.Once(t.Context()), other)
	if a, b := string(first.Payload()), string(second.Payload()); a != `{"iss":"a"}` || b != `{"iss":"b"}` {
		t.Errorf("two tokens at a time are %s and %s", a, b)
	}
}
