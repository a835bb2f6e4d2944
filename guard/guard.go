// Package guard puts the front door before any HTTP server: who is calling, and
// whether he may.
//
// The one idea: [New] is the whole way of a request, as package door is for
// Gatehouse itself, for servers that have neither its store nor its API. What
// is behind it sees no credential, and no header that claims to say who somebody
// is: it asks [Caller].
//
// It refuses what it cannot be sure about: a request to act as somebody else
// (the Impersonate headers), because serving it as the caller would be wrong;
// and a path in a form that the server behind might take for another one.
package guard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/fieldname"
)

// Config is what the guard is made of.
type Config struct {
	Authenticator authn.Authenticator
	Authorizer    authz.Authorizer
	// Attributes says what a request asks for; its User is set by the guard. If
	// nil, it is [Path]. An error is the caller's, and is told to him.
	Attributes func(*http.Request) (authz.Attributes, error)
	// ProxyHeaders are those in which an authenticating proxy is believed, if
	// the authenticator believes one.
	ProxyHeaders frontproxy.Headers
	// Refused, which may be nil, is called with each request that is not let
	// in, the status of its answer, and the reason, of which the caller is told
	// no more than he may know.
	Refused func(r *http.Request, status int, why error)
}

type guard struct {
	Config
	next http.Handler
}

// New returns the handler before next. The server has to ask for client
// certificates without verifying them (crypto/tls.RequestClientCert) where the
// authenticator knows some, and should have [ConnContext] as its ConnContext.
func New(c Config, next http.Handler) http.Handler {
	if c.Attributes == nil {
		c.Attributes = Path
	}
	// A chain makes sure that nobody is let in without a name.
	c.Authenticator = authn.Chain(c.Authenticator)
	return &guard{c, next}
}

type callerKey struct{}

// Caller returns who sent a request that the guard let in, from its context, or
// nil if it has not passed one. The identity must not be changed.
func Caller(ctx context.Context) *identity.Identity {
	who, _ := ctx.Value(callerKey{}).(*identity.Identity)
	return who
}

// ConnContext is for [http.Server]: with it a client certificate is verified
// once for each connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	conn := &authn.Conn{}
	if peer, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		conn.Peer = peer.Addr().Unmap()
	}
	return authn.WithConn(ctx, conn)
}

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, err := g.Authenticator.Authenticate(r)
	if authn.IsThrottled(err) {
		w.Header().Set("Retry-After", "1")
		g.refuse(w, r, http.StatusServiceUnavailable, "too many credentials wait to be verified; try again", err)
		return
	}
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		g.refuse(w, r, http.StatusUnauthorized, "Unauthorized", err)
		return
	}
	for name := range r.Header {
		if impersonation.Claims(name) {
			g.refuse(w, r, http.StatusForbidden, "nobody may act as somebody else here", errors.New("the request has the header "+name))
			return
		}
	}
	g.strip(r.Header)
	a, err := g.Attributes(r)
	if err != nil {
		g.refuse(w, r, http.StatusBadRequest, err.Error(), err)
		return
	}
	a.User = res.Identity
	answer, err := g.Authorizer.Authorize(r.Context(), &a)
	switch {
	case answer.Verdict == authz.Allow:
		g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, res.Identity)))
	case err != nil:
		g.refuse(w, r, http.StatusInternalServerError, "the request could not be authorized", err)
	default:
		text := a.Denial()
		if reason := answer.Reason(); reason != "" {
			text += ": " + reason
		}
		g.refuse(w, r, http.StatusForbidden, text, errors.New(text))
	}
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request, status int, text string, why error) {
	if g.Refused != nil {
		g.Refused(r, status, why)
	}
	http.Error(w, text, status)
}

// strip removes what is nobody's business behind the guard, in every spelling,
// and keeps the caller from having the next server drop it when it is set again.
func (g *guard) strip(h http.Header) {
	authn.RemoveTokens(h)
	fieldname.Remove(h, g.ProxyHeaders.Claims)
	fieldname.Unlist(h, func(name string) bool {
		return g.ProxyHeaders.Claims(name) || impersonation.Claims(name) || fieldname.Equal(name, "Authorization")
	})
}

// Path says what a server of plain paths is asked for: the method in lower case,
// on the path of the address. It refuses a path that is not in its simplest
// form: with "..", "." or empty segments, an encoded slash, or a backslash.
// Rules are about paths as they are written, and a server that resolves such a
// path would answer for another one than was allowed.
func Path(r *http.Request) (authz.Attributes, error) {
	p := r.URL.Path
	simplest := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && simplest != "/" {
		simplest += "/"
	}
	raw := strings.ToLower(r.URL.EscapedPath())
	if p != simplest || strings.Contains(raw, "%2f") || strings.ContainsAny(p, `\`) {
		return authz.Attributes{}, errors.New("the path is not in its simplest form")
	}
	return authz.Attributes{Verb: strings.ToLower(r.Method), Path: p}, nil
}
