package authn_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/test/ladder"
)

const disguise = "base64url.bearer.authorization.k8s.io."

// handshake is one of WebSocket with the given fields of subprotocols.
func handshake(protocols ...string) http.Header {
	h := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}
	for _, p := range protocols {
		h.Add("Sec-WebSocket-Protocol", p)
	}
	return h
}

func without(h http.Header, name string) http.Header { h.Del(name); return h }

func TestWebSocket(t *testing.T) {
	encode := func(token string) string { return disguise + base64.RawURLEncoding.EncodeToString([]byte(token)) }
	good := encode("good")
	long := strings.Repeat("x", authn.MaxToken)
	for _, test := range []struct {
		name   string
		header http.Header
		want   string // "ok", "none", or a part of the refusal
	}{
		{"token first", handshake(good + ", v5.channel.k8s.io"), "ok"},
		{"token last", handshake("v5.channel.k8s.io," + good), "ok"},
		{"in fields of their own", handshake("v5.channel.k8s.io", good), "ok"},
		{"empty other", handshake(good + ","), "ok"},
		{"upgrade among others", func() http.Header {
			h := handshake(good, "v5")
			h.Set("Upgrade", "WebSocket")
			h.Set("Connection", "keep-alive, UPGRADE")
			return h
		}(), "ok"},
		{"longest token", handshake(encode(long), "v5"), "invalid bearer token"},

		{"no subprotocol", handshake(), "none"},
		{"no token", handshake("v5.channel.k8s.io"), "none"},
		{"another prefix", handshake("v5, base64url.bearer.authorization.k8s.io"), "none"},
		{"other case", handshake(strings.Replace(good, "base64url", "Base64url", 1), "v5"), "none"},
		{"no upgrade", without(handshake(good, "v5"), "Upgrade"), "none"},
		{"no connection", without(handshake(good, "v5"), "Connection"), "none"},

		{"unknown token", handshake(encode("bad"), "v5"), "invalid bearer token"},
		{"nothing else", handshake(good), "missing additional subprotocol"},
		{"two tokens", handshake(good, good, "v5"), "multiple"},
		{"two tokens in one field", handshake(good + "," + encode("bad") + ",v5"), "multiple"},
		{"empty token", handshake(disguise, "v5"), "empty"},
		{"padded", handshake(good+"==", "v5"), "token encoding"},
		{"other alphabet", handshake(disguise+"+/+/", "v5"), "token encoding"},
		{"bits left over", handshake(disguise+"Z29vZB", "v5"), "token encoding"}, // good is Z29vZA
		{"inner white space", handshake(disguise+"Z29v ZA", "v5"), "token encoding"},
		{"not UTF-8", handshake(encode("g\xffod"), "v5"), "invalid base64.bearer.authorization token"},
		{"white space in token", handshake(encode("good junk"), "v5"), "white space"},
		{"too long", handshake(encode(long+"x"), "v5"), "longer than 16 KiB"},
		{"far too long", handshake(disguise+strings.Repeat("A", 1<<20), "v5"), "longer than 16 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := authn.WebSocket(authn.Tokens(verifier{"good", authn.ErrNoCredential}))
			res, err := a.Authenticate(&http.Request{Header: test.header})
			switch {
			case test.want == "ok":
				if err != nil || res == nil {
					t.Errorf("refused: %v", err)
				}
			case err == nil:
				t.Error("accepted")
			case test.want == "none":
				if !errors.Is(err, authn.ErrNoCredential) {
					t.Errorf("refused: %v, want no credential", err)
				}
			case errors.Is(err, authn.ErrNoCredential) || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want a refusal with %q", err, test.want)
			}
			want := map[string]string{"ok": "accepted: ", "none": "passed: ", "invalid bearer token": "unknown: "}[test.want]
			if want == "" {
				want = "malformed: "
			}
			if got := ladder.Why(t, err); got != strings.TrimSuffix(want, ": ") && got != want {
				t.Errorf("explained by %q, want %q", got, want)
			}
			if err != nil && strings.Contains(err.Error(), "Z29v") {
				t.Errorf("tells the token: %v", err)
			}
		})
	}
}

func TestRemoveTokens(t *testing.T) {
	token := disguise + "Z29vZA"
	for _, test := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"v5, v4"}, []string{"v5, v4"}},
		{[]string{token}, nil},
		{[]string{"v5, " + token + ", v4"}, []string{"v5,v4"}},
		{[]string{token, "v5"}, []string{"v5"}},
		{[]string{token, "v5", token + ",v4"}, []string{"v5,v4"}},
		{[]string{strings.ToUpper(token), "v5"}, []string{"v5"}},
	} {
		h := handshake(test.in...)
		h.Set("Authorization", "Bearer good")
		authn.RemoveTokens(h)
		if got := h["Sec-Websocket-Protocol"]; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: left %q, want %q", test.in, got, test.want)
		}
		if h.Get("Authorization") != "" {
			t.Error("Authorization is left")
		}
	}
}

func FuzzWebSocket(f *testing.F) {
	for _, s := range []string{disguise + "Z29vZA,v5", "v5," + disguise, disguise + "Z29vZA", ",," + disguise + "Z29vZA,", disguise + "Z29vZB,v5"} {
		f.Add(s)
	}
	a := authn.WebSocket(authn.Tokens(verifier{"good", authn.ErrNoCredential}))
	f.Fuzz(func(t *testing.T, protocols string) {
		h := handshake(protocols)
		_, err := a.Authenticate(&http.Request{Header: h})
		// The token has one form, and stands alone.
		if err == nil && strings.Count(protocols, disguise+"Z29vZA") != 1 {
			t.Errorf("accepted %q", protocols)
		}
		authn.RemoveTokens(h)
		if _, err := a.Authenticate(&http.Request{Header: h}); !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%q keeps a token", protocols)
		}
	})
}
