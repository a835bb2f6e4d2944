package authn

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/identity"
)

const (
	subprotocols = "Sec-Websocket-Protocol" // as http.CanonicalHeaderKey writes it
	// tokenSubprotocol begins the subprotocol that is a token in disguise.
	tokenSubprotocol = "base64url.bearer.authorization.k8s.io."
)

type webSocket struct{ tokens TokenVerifier }

// WebSocket returns an [Authenticator] of the bearer token among the
// subprotocols of a WebSocket handshake, where a browser can put one:
// "base64url.bearer.authorization.k8s.io." and the token in unpadded base64url
// (k8s.io/apiserver pkg/authentication/request/websocket). There has to be
// another subprotocol, for the server to choose.
//
// It is stricter than Kubernetes about the encoding: bits that count for
// nothing must be zero, so that a token has one form, and an empty token is
// refused. Requests that are no WebSocket handshake have no credential here.
// Whoever passes the request on removes the token with [RemoveTokens].
func WebSocket(tokens TokenVerifier) Authenticator { return &webSocket{tokens} }

func (a *webSocket) Authenticate(r *http.Request) (*Result, error) { return a.climb(r, nil) }

func (a *webSocket) climb(r *http.Request, l *ladder) (*Result, error) {
	token, err := a.read(r)
	if err != nil {
		l.note(a, nil, err)
		return nil, err
	}
	return presented(r, token, a, a.tokens, l)
}

// asSubprotocol is the method of a token in a subprotocol, as long as it is not
// known what kind of token it is.
const asSubprotocol identity.Method = "WebSocket"

// Describe implements [Described].
func (*webSocket) Describe() (identity.Method, string) { return asSubprotocol, "" }

const mendSubprotocol = "send two subprotocols: one that the server speaks, and " + tokenSubprotocol + " with the token in unpadded base64url"

var (
	errNoWebSocket   = Pass(asSubprotocol, "the request is no WebSocket handshake")
	errNoSubprotocol = Pass(asSubprotocol, "no subprotocol is a token")
)

// read returns the token that r was sent with.
func (*webSocket) read(r *http.Request) (string, error) {
	if !isWebSocket(r.Header) {
		return "", errNoWebSocket
	}
	var encoded string
	found, others := 0, 0
	for _, values := range r.Header[subprotocols] {
		for protocol := range strings.SplitSeq(values, ",") {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(protocol), tokenSubprotocol); ok {
				encoded = rest
				found++
			} else {
				others++
			}
		}
	}
	switch {
	case found == 0:
		return "", errNoSubprotocol
	case found > 1:
		return "", malformed("multiple base64.bearer.authorization tokens specified", mendSubprotocol)
	case len(encoded) > base64.RawURLEncoding.EncodedLen(MaxToken):
		return "", errTooLong
	}
	token, err := decodeStrictly(encoded)
	switch {
	case err != nil:
		return "", malformed("invalid base64.bearer.authorization token encoding", mendSubprotocol)
	case !utf8.ValidString(token):
		return "", malformed("invalid base64.bearer.authorization token", mendSubprotocol)
	case others == 0:
		return "", malformed("missing additional subprotocol", mendSubprotocol)
	}
	return token, nil
}

// decodeStrictly reads unpadded base64url. The library skips line breaks, which
// no header has.
func decodeStrictly(encoded string) (string, error) {
	if strings.ContainsAny(encoded, "\r\n") {
		return "", base64.CorruptInputError(0)
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	return string(token), err
}

// isWebSocket tells handshakes of WebSocket (RFC 6455 section 4.1) as
// Kubernetes does.
func isWebSocket(h http.Header) bool {
	upgrade := h["Upgrade"]
	return len(upgrade) > 0 && strings.EqualFold(upgrade[0], "websocket") &&
		slices.ContainsFunc(h["Connection"], func(v string) bool { return strings.Contains(strings.ToLower(v), "upgrade") })
}

// removeSubprotocols removes the subprotocols that are tokens. Case does not
// count, because some server may not count it.
func removeSubprotocols(h http.Header) {
	isToken := func(protocol string) bool {
		protocol = strings.TrimSpace(protocol)
		return len(protocol) >= len(tokenSubprotocol) && strings.EqualFold(protocol[:len(tokenSubprotocol)], tokenSubprotocol)
	}
	var kept []string
	found := false
	for _, values := range h[subprotocols] {
		for protocol := range strings.SplitSeq(values, ",") {
			if isToken(protocol) {
				found = true
			} else {
				kept = append(kept, strings.TrimSpace(protocol))
			}
		}
	}
	switch {
	case !found:
	case len(kept) == 0:
		delete(h, subprotocols)
	default:
		h[subprotocols] = []string{strings.Join(kept, ",")}
	}
}
