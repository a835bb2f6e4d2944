package requests_test

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
	if r.IntN(4) > 0 {
		return tokens[r.IntN(len(tokens))]
	}
	return pick(r, "bad", "", "Good", "good.", "goo", "good junk", " good", "good\t", "go\u00a0od", "g\xffood", `"good"`, "good,", "good=", "go od", "good%20", "\u2028good", "=")
}

// Rows of the page about tokens in headers.
const (
	severalOrSpace = "more than one `Authorization` header; one with white space around or within the token, or of more than 16 KiB"
	otherForm      = "an `Authorization` header of another form than `Bearer TOKEN`, such as Basic"
	twoTokens      = "`Authorization: Bearer a b`"
	oddProtocol    = "an empty token as a WebSocket subprotocol, or one whose base64url has bits left over"
)

func TestBearer(t *testing.T) {
	t.Parallel()
	r, seen := random(t), differences{}
	their, our := bearertoken.New(theirTokens{}), authn.Bearer(authn.Tokens(ourTokens{}))
	for range rounds() {
		var values []string
		for range []int{1, 1, 1, 1, 1, 1, 1, 0, 2, 3}[r.IntN(10)] {
			values = append(values, usually(r, "", " ", "\t", "\u00a0")+
				usually(r, "Bearer", "bearer", "BEARER", "Basic", "Negotiate", "", "Bear", "Bearer:", "Bearer,", "DPoP", "Token")+
				usually(r, " ", "  ", "\t", "", "\u00a0", " Bearer ", "=")+anyToken(r)+
				usually(r, "", " ", " junk", ", Bearer good", "\u00a0", "\t", "  "))
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
			why = severalOrSpace
		case a.Refused && b.Name == "" && !b.Refused:
			why = otherForm
		case a.Refused && b.Name != "" && len(b.Name) > 16<<10:
			why = severalOrSpace
		case a.Refused && b.Name != "" && len(strings.Fields(values[0])) > 2:
			why = twoTokens
		case a.Refused && b.Name != "" && values[0] != "Bearer "+b.Name && strings.TrimSpace(values[0]) != values[0]:
			why = severalOrSpace
		}
		seen.check(t, values, a, b, why)
	}
	seen.seen(t, severalOrSpace, otherForm, twoTokens)
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	const prefix = "base64url.bearer.authorization.k8s.io."
	r, seen := random(t), differences{}
	their, our := websocket.NewProtocolAuthenticator(theirTokens{}), authn.WebSocket(authn.Tokens(ourTokens{}))
	for range rounds() {
		h := http.Header{}
		if r.IntN(20) > 0 {
			h["Upgrade"] = []string{usually(r, "websocket", "WebSocket", "SPDY/3.1", "websocket, h2c")}
		}
		if r.IntN(20) > 0 {
			h["Connection"] = []string{usually(r, "Upgrade", "upgrade", "keep-alive, Upgrade", "close", "Upgraded")}
		}
		for range r.IntN(4) {
			var list []string
			for range r.IntN(4) {
				switch r.IntN(5) {
				case 0:
					encoded := base64.RawURLEncoding.EncodeToString([]byte(anyToken(r))) + usually(r, "", "=", "+", "B", "A", "\n")
					if r.IntN(8) == 0 {
						encoded = "Z29vZB" // good is Z29vZA
					}
					list = append(list, usually(r, prefix, strings.ToUpper(prefix), "x"+prefix)+encoded)
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
			why = oddProtocol
		case a.Refused && b.Name != "" && !canonical(h, prefix):
			why = oddProtocol
		case a.Refused && len(b.Name) > 16<<10:
			why = severalOrSpace
		}
		seen.check(t, h, a, b, why)
		upper := func(p string) bool { return strings.HasPrefix(p, strings.ToUpper(prefix)) } // which only we remove
		if a.Name != "" && !slices.ContainsFunc(protocols(h), upper) && left.Get("Sec-WebSocket-Protocol") != theirLeft.Get("Sec-WebSocket-Protocol") {
			t.Fatalf("%v: left %q, theirs %q", h, left["Sec-Websocket-Protocol"], theirLeft["Sec-Websocket-Protocol"])
		}
	}
	seen.seen(t, oddProtocol, severalOrSpace)
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
