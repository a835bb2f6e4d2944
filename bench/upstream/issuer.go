package upstream

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// An Issuer is one of other tokens than service accounts'. Its users are in
// "sub" and its groups in "groups".
type Issuer struct {
	URL, Audience string
	Keys          []jose.JSONWebKey
	Algorithms    []string
}

func (i Issuer) build() (authenticator.Token, error) {
	none := ""
	return oidc.New(context.Background(), oidc.Options{
		JWTAuthenticator: apiserver.JWTAuthenticator{
			Issuer: apiserver.Issuer{URL: i.URL, Audiences: []string{i.Audience}},
			ClaimMappings: apiserver.ClaimMappings{
				Username: apiserver.PrefixedClaimOrExpression{Claim: "sub", Prefix: &none},
				Groups:   apiserver.PrefixedClaimOrExpression{Claim: "groups", Prefix: &none},
			},
		},
		KeySet:               keySet{i.Keys, i.Algorithms},
		SupportedSigningAlgs: i.Algorithms,
	})
}

// A keySet does with keys that are there what go-oidc's remote key set does with
// those that it has fetched, and takes no lock.
type keySet struct {
	keys       []jose.JSONWebKey
	algorithms []string
}

// VerifySignature implements the interface of go-oidc.
func (s keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	algorithms := make([]jose.SignatureAlgorithm, len(s.algorithms))
	for i, a := range s.algorithms {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	signed, err := jose.ParseSigned(token, algorithms)
	if err != nil {
		return nil, err
	}
	for _, k := range s.keys {
		if k.KeyID != signed.Signatures[0].Header.KeyID {
			continue
		}
		if payload, err := signed.Verify(&k); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("failed to verify id token signature")
}
