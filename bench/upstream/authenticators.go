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
	tokens := cache.New(tokenunion.New(
		authenticator.WrapAudienceAgnosticToken(c.Audiences, static),
		authenticator.TokenFunc(c.account),
	), false, successTTL, 0)
	known := union.New(
		requestx509.NewDynamic(func() (x509.VerifyOptions, bool) {
			options := requestx509.DefaultVerifyOptions()
			options.Roots = c.Roots
			return options, true
		}, requestx509.CommonNameUserConversion),
		bearertoken.New(tokens),
		websocket.NewProtocolAuthenticator(tokens),
	)
	return &Authenticators{
		Request: union.NewFailOnError(group.NewAuthenticatedGroupAdder(known), anonymous.NewAuthenticator(nil)),
		Token:   tokens,
	}, nil
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
