package headers_test

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/websocket"

	"gatehouse.dev/gatehouse/authn"
)

func anyToken(r *rand.Rand) string {
	return pick(r, append(slices.Clone(tokens), "bad", "", "good junk", " good", "good\t", "g\xffood", strings.Repeat("x", 17<<10))...)
}

func TestBearer(t *testing.T) {
	r, seen := random(), differences{}
	their, our := bearertoken.New(theirTokens{}), authn.Bearer(authn.Tokens(ourTokens{}))
	for range rounds() {
		var values []string
		for range []int{1, 1, 1, 1, 0, 2}[r.IntN(6)] {
			values = append(values, pick(r, "Bearer", "Bearer", "bearer", "BEARER", "Basic", "", "Bear")+
				pick(r, " ", " ", " ", "  ", "\t", "")+anyToken(r)+pick(r, "", "", "", " ", " junk"))
		}
		h := http.Header{}
		if values != nil {
			h["Authorization"] = values
		}
		a := ours(our.Authenticate(&http.Request{Header: h.Clone()}))
		b := theirs(their.AuthenticateRequest(&http.Request{Header: h.Clone()}))
		why := ""
		switch {
		case len(values) > 1:
			why = "more than one Authorization header"
		case a.Refused && b.Name == "" && !b.Refused:
			why = "a header that is not Bearer and a token is refused"
		case a.Refused && b.Name != "" && strings.Count(values[0], " ") != 1:
			why = "white space around or within the token"
		case a.Refused && b.Name != "":
			why = "a tab in the header"
		}
		seen.check(t, values, a, b, why)
	}
	seen.seen(t, "more than one Authorization header", "a header that is not Bearer and a token is refused", "white space around or within the token")
}

func TestWebSocket(t *testing.T) {
	const prefix = "base64url.bearer.authorization.k8s.io."
	r, seen := random(), differences{}
	their, our := websocket.NewProtocolAuthenticator(theirTokens{}), authn.WebSocket(authn.Tokens(ourTokens{}))
	for range rounds() {
		h := http.Header{}
		if r.IntN(10) > 0 {
			h["Upgrade"] = []string{pick(r, "websocket", "WebSocket", "websocket", "SPDY/3.1", "websocket, h2c")}
		}
		if r.IntN(10) > 0 {
			h["Connection"] = []string{pick(r, "Upgrade", "upgrade", "keep-alive, Upgrade", "close", "Upgraded")}
		}
		for range r.IntN(4) {
			var list []string
			for range r.IntN(4) {
				switch r.IntN(3) {
				case 0:
					encoded := base64.RawURLEncoding.EncodeToString([]byte(anyToken(r))) + pick(r, "", "", "", "", "=", "+", "B", "A", "\n")
					if r.IntN(8) == 0 {
						encoded = "Z29vZB" // good is Z29vZA
					}
					list = append(list, pick(r, prefix, prefix, prefix, strings.ToUpper(prefix), "x"+prefix)+encoded)
				default:
					list = append(list, pick(r, "v4.channel.k8s.io", "v5.channel.k8s.io", "", " ", "base64url.bearer.authorization.k8s.io"))
				}
			}
			h.Add("Sec-WebSocket-Protocol", strings.Join(list, pick(r, ",", ", ", " ,")))
		}
		left := h.Clone()
		a := ours(our.Authenticate(&http.Request{Header: left}))
		authn.RemoveTokens(left)
		theirLeft := h.Clone()
		b := theirs(their.AuthenticateRequest(&http.Request{Header: theirLeft}))
		why := ""
		switch {
		case a.Refused && b.Name == "" && !b.Refused && slices.Contains(protocols(h), prefix):
			why = "an empty token is refused"
		case a.Refused && b.Name != "" && !canonical(h, prefix):
			why = "a token has one encoding"
		}
		seen.check(t, h, a, b, why)
		upper := func(p string) bool { return strings.HasPrefix(p, strings.ToUpper(prefix)) } // which only we remove
		if a.Name != "" && !slices.ContainsFunc(protocols(h), upper) && left.Get("Sec-WebSocket-Protocol") != theirLeft.Get("Sec-WebSocket-Protocol") {
			t.Fatalf("%v: left %q, theirs %q", h, left["Sec-Websocket-Protocol"], theirLeft["Sec-Websocket-Protocol"])
		}
	}
	seen.seen(t, "an empty token is refused", "a token has one encoding")
}

// protocols are the subprotocols of a handshake.
func protocols(h http.Header) []string {
	var all []string
	for _, v := range h["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(v, ",") {
			all = append(all, strings.TrimSpace(p))
		}
	}
	return all
}

// canonical reports whether all tokens are encoded as an encoder would.
func canonical(h http.Header, prefix string) bool {
	for _, p := range protocols(h) {
		encoded, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		token, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil || base64.RawURLEncoding.EncodeToString(token) != encoded {
			return false
		}
	}
	return true
}
