// Package frontproxy takes the word of an authenticating proxy for who is
// calling: Kubernetes' --requestheader flags.
//
// The one idea: the proxy is a client like any other. Its certificate is
// verified as [clientcert] verifies all of them, against a CA of its own and
// once for each connection; only what it stands for is different: not a user
// but the right to name one.
//
// It refuses certificates of another CA or name, a name or UID that is given
// twice, and what is not UTF-8. Where every certificate of the CA may name
// users, it refuses them all while the CA is also one of clients, each of whom
// could be anybody. It does not remove the headers, because those of a request
// that it did not look at have to go as well: see [Headers.Claims].
package frontproxy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
)

// A Config says which proxies are believed, and what.
type Config struct {
	// CA is what the certificate of a proxy must chain to.
	CA *clientcert.Bundle
	// AllowedNames are the common names that a proxy may have. If there is
	// none, any certificate of the CA is a proxy's.
	AllowedNames []string
	// ClientCAs are those of clients that authenticate themselves.
	ClientCAs []*clientcert.Bundle
	Headers   Headers
}

// An Authenticator authenticates those whom a proxy names.
type Authenticator struct {
	proxies   *clientcert.Authenticator
	ca        *clientcert.Bundle
	clientCAs []*clientcert.Bundle // empty if names are checked
	headers   Headers
}

var errNoUser = authn.Pass(identity.FrontProxy, "the proxy names no user")

var errShared = errors.New("a certificate of the proxies' CA is also one of the clients' CA, and no names of proxies are given, so any client could act as anybody")

// New returns an authenticator. It fails if a name is not that of a header
// field, and if CA and ClientCAs have a certificate in common without
// AllowedNames.
func New(c Config) (*Authenticator, error) {
	headers, err := c.Headers.canonical()
	if err != nil {
		return nil, err
	}
	a := &Authenticator{ca: c.CA, headers: headers}
	if len(c.AllowedNames) == 0 {
		a.clientCAs = slices.Clone(c.ClientCAs)
	}
	if a.shared() {
		return nil, errShared
	}
	allowed := slices.Clone(c.AllowedNames)
	a.proxies = clientcert.NewFor(c.CA, identity.FrontProxy, func(leaf *x509.Certificate) (*identity.Identity, error) {
		name := leaf.Subject.CommonName
		if len(allowed) > 0 && !slices.Contains(allowed, name) {
			return nil, notAllowed(name, allowed)
		}
		return &identity.Identity{Name: name}, nil
	})
	return a, nil
}

// notAllowed is why a certificate is no proxy's.
func notAllowed(name string, allowed []string) error {
	return authn.Explained(fmt.Errorf("x509: subject with cn=%s is not in the allowed list", name), authn.Untrusted, func() authn.Facts {
		return authn.Facts{
			Checks: []authn.Check{{What: "common name (CN)", Got: name, Want: "one of " + authn.List(allowed)}},
			Mend:   "add the name to --requestheader-allowed-names if that client is a proxy",
		}
	})
}

// Describe implements [authn.Described].
func (a *Authenticator) Describe() (identity.Method, string) { return a.proxies.Describe() }

// Passed implements [authn.Witness]: it says why the word of who is no proxy does
// not count, if there is such a word and no certificate to go with it.
func (a *Authenticator) Passed(r *http.Request, err error) error {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return err
	}
	for _, field := range a.headers.Username {
		if len(r.Header[field]) == 0 {
			continue
		}
		return authn.Explained(authn.Pass(identity.FrontProxy, "the header "+field+" does not count: the connection has no client certificate, so it is no proxy's"), "", func() authn.Facts {
			_, file := a.Describe()
			return authn.Facts{
				Checks: []authn.Check{{What: "client certificate", Got: "none", Want: "one of a CA in " + file}},
				Mend:   "have the proxy connect with its client certificate, or, if this is no proxy, send a credential instead of the header",
			}
		})
	}
	return err
}

// shared reports whether a client's certificate might pass for a proxy's. It is
// asked on each request, because either file may change.
func (a *Authenticator) shared() bool {
	return slices.ContainsFunc(a.clientCAs, a.ca.Shares)
}

// Authenticate implements [authn.Authenticator]. The result holds as long as
// the proxy's certificate, which is its credential.
func (a *Authenticator) Authenticate(r *http.Request) (*authn.Result, error) {
	proxy, err := a.proxies.Authenticate(r)
	if err != nil {
		return nil, err
	}
	if a.shared() {
		return nil, &authn.Refusal{Method: identity.FrontProxy, Reason: "no proxy is believed", Cause: errShared, Facts: authn.Facts{
			Kind: authn.Untrusted, Mend: "give --requestheader-allowed-names, or a CA to the proxies that is not one of the clients",
		}}
	}
	who, err := a.headers.read(r.Header)
	if err != nil {
		return nil, &authn.Refusal{Method: identity.FrontProxy, Reason: "reading the headers of the proxy", Cause: err, Facts: authn.Facts{
			Kind:   authn.Malformed,
			Checks: []authn.Check{{What: "common name (CN) of the proxy", Got: proxy.Identity.Name, OK: true}, {What: "headers", Got: err.Error()}},
			Mend:   "have the proxy set each of its headers once, in UTF-8, and remove those that its own client sends",
		}}
	}
	if who == nil {
		return nil, errNoUser
	}
	who.Credential = proxy.Identity.Credential
	return &authn.Result{Identity: who, Until: proxy.Until, Rests: proxy.Rests}, nil
}
