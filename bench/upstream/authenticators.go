package upstream

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	requestx509 "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/identity"
)

// successTTL is kube-apiserver's default of how long it remembers a token.
const successTTL = 10 * time.Second

// Credentials are what the authenticators of both sides accept.
type Credentials struct {
	// Roots are the authorities of client certificates.
	Roots *x509.CertPool
	// TokenFile is the CSV file of --token-auth-file.
	TokenFile string
	// Accounts are the service account tokens, and whose they are. The real
	// authenticator of them cannot be imported: to look one up in a map costs
	// nothing, and it stands behind the cache, which is what is measured.
	Accounts map[string]*identity.Identity
	// Audiences are those of the API.
	Audiences authenticator.Audiences
	// Proxies are the authorities of authenticating proxies, with the usual
	// headers and any name, or nil.
	Proxies *x509.CertPool
	// Issuers are those of other tokens.
	Issuers []Issuer
	// Forgetful makes the token cache forget before it is asked again.
	Forgetful bool
}

// Authenticators are the chain for requests, and the part of it for tokens.
type Authenticators struct {
	Request authenticator.Request
	Token   authenticator.Token
}

// Build puts the authenticators together in the order of kube-apiserver
// (k8s.io/kubernetes pkg/kubeapiserver/authenticator/config.go), with those
// left out that are off.
func (c *Credentials) Build() (*Authenticators, error) {
	static, err := tokenfile.NewCSV(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("reading token file: %w", err)
	}
	all := []authenticator.Token{
		authenticator.WrapAudienceAgnosticToken(c.Audiences, static),
		authenticator.TokenFunc(c.account),
	}
	// One after the other, as kube-apiserver has them: each is asked in turn.
	for _, i := range c.Issuers {
		issuer, err := i.build()
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", i.URL, err)
		}
		all = append(all, authenticator.WrapAudienceAgnosticToken(c.Audiences, issuer))
	}
	ttl := successTTL
	if c.Forgetful {
		ttl = time.Nanosecond
	}
	tokens := cache.New(tokenunion.New(all...), true, ttl, 0)
	var chain []authenticator.Request
	if c.Proxies != nil {
		chain = append(chain, authenticator.WrapAudienceAgnosticRequest(c.Audiences, headerrequest.NewDynamicVerifyOptionsSecure(optionsOf(c.Proxies), values(),
			values("X-Remote-User"), values("X-Remote-Uid"), values("X-Remote-Group"), values("X-Remote-Extra-"))))
	}
	known := union.New(append(chain,
		requestx509.NewDynamic(optionsOf(c.Roots), requestx509.CommonNameUserConversion),
		bearertoken.New(tokens),
		websocket.NewProtocolAuthenticator(tokens),
	)...)
	return &Authenticators{
		Request: union.NewFailOnError(group.NewAuthenticatedGroupAdder(known), anonymous.NewAuthenticator(nil)),
		Token:   tokens,
	}, nil
}

func optionsOf(roots *x509.CertPool) requestx509.VerifyOptionFunc {
	return func() (x509.VerifyOptions, bool) {
		options := requestx509.DefaultVerifyOptions()
		options.Roots = roots
		return options, true
	}
}

func values(all ...string) headerrequest.StringSliceProvider {
	return headerrequest.StringSliceProviderFunc(func() []string { return all })
}

func (c *Credentials) account(_ context.Context, token string) (*authenticator.Response, bool, error) {
	who, ok := c.Accounts[token]
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{
		User:      &user.DefaultInfo{Name: who.Name, UID: who.UID, Groups: who.Groups, Extra: maps.Clone(who.Extra)},
		Audiences: c.Audiences,
	}, true, nil
}
