package config

import (
	"errors"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/internal/issuers"
	"gatehouse.dev/gatehouse/internal/pki"
)

// JWT is the issuers whose tokens are accepted, in the form of Kubernetes'
// AuthenticationConfiguration, and what they may do.
type JWT struct {
	// The file with an AuthenticationConfiguration (apiserver.config.k8s.io/v1)
	// that names the issuers of tokens and says what their claims mean. It is
	// followed. May not be given together with an OpenID Connect issuer.
	// Default: none.
	ConfigFile string `json:"configFile" flag:"authentication-config" path:"read"`
	// The algorithms that the tokens of these issuers may be signed with.
	// EdDSA has to be asked for.
	// Default: ES256,ES384,ES512,PS256,PS384,PS512,RS256,RS384,RS512.
	SigningAlgs []string `json:"signingAlgs" flag:"jwt-signing-algs"`
	// How long the keys of an issuer that is down stay in use, as a duration.
	// After that its tokens are refused.
	// Default: 24h0m0s.
	MaxKeyAge Duration `json:"maxKeyAge" flag:"jwt-max-key-age"`
	// The users and groups beginning with system: that an issuer may name, each
	// as ISSUER, a space and the name. A token that names another one is
	// refused.
	// Default: none.
	ReservedNames []string `json:"reservedNames" flag:"jwt-reserved-name,array"`
	// The origins, such as https://graph.example.org, that groups may be
	// fetched from which a token does not hold itself, besides the origin of
	// its issuer.
	// Default: none.
	ClaimSources []string `json:"claimSources" flag:"jwt-claim-sources"`
}

// OIDC is one OpenID Connect issuer whose tokens are accepted.
type OIDC struct {
	// The URL of the issuer, as its tokens have it. https only. Without it no
	// such tokens are accepted.
	// Default: none.
	IssuerURL string `json:"issuerURL" flag:"oidc-issuer-url"`
	// The client ID that tokens must be for. Needed with an issuer.
	// Default: none.
	ClientID string `json:"clientID" flag:"oidc-client-id"`
	// The file with the CA certificates of the issuer in PEM form. It is
	// followed. Without it, those that the machine trusts.
	// Default: none.
	CAFile string `json:"caFile" flag:"oidc-ca-file" path:"read"`
	// The claim with the user name.
	// Default: sub.
	UsernameClaim string `json:"usernameClaim" flag:"oidc-username-claim"`
	// What is put before the user name. Without it, the issuer and a # for
	// every claim but email; a - puts nothing before it.
	// Default: none.
	UsernamePrefix string `json:"usernamePrefix" flag:"oidc-username-prefix"`
	// The claim with the groups, a string or a list of strings. Without it
	// there are none.
	// Default: none.
	GroupsClaim string `json:"groupsClaim" flag:"oidc-groups-claim"`
	// What is put before each group.
	// Default: none.
	GroupsPrefix string `json:"groupsPrefix" flag:"oidc-groups-prefix"`
	// The algorithms that tokens may be signed with.
	// Default: RS256.
	SigningAlgs []string `json:"signingAlgs" flag:"oidc-signing-algs"`
	// Claims that a token must have, each as CLAIM=VALUE.
	// Default: none.
	RequiredClaims []string `json:"requiredClaims" flag:"oidc-required-claim,array"`
}

func defaultJWT() JWT {
	_, algorithms := issuers.Algorithms()
	return JWT{SigningAlgs: algorithms, MaxKeyAge: Duration(24 * time.Hour)}
}

func defaultOIDC() OIDC {
	return OIDC{UsernameClaim: "sub", SigningAlgs: []string{"RS256"}}
}

// Issuers returns what package issuers has to know, and whether any issuer is
// configured.
func (c *Configuration) Issuers() (issuers.Config, bool) {
	j, o := &c.Authentication.JWT, &c.Authentication.OIDC
	cfg := issuers.Config{
		Path: j.ConfigFile, Own: c.ServiceAccounts.Issuers, Audiences: c.Audiences(), Algorithms: j.SigningAlgs,
		MaxKeyAge: time.Duration(j.MaxKeyAge), Reserved: j.ReservedNames, ClaimSources: j.ClaimSources,
	}
	if o.IssuerURL != "" {
		cfg.Flags = &issuers.Flags{
			IssuerURL: o.IssuerURL, ClientID: o.ClientID, CAFile: o.CAFile,
			UsernameClaim: o.UsernameClaim, UsernamePrefix: o.UsernamePrefix,
			GroupsClaim: o.GroupsClaim, GroupsPrefix: o.GroupsPrefix,
			SigningAlgs: o.SigningAlgs, RequiredClaims: o.RequiredClaims,
		}
	}
	return cfg, cfg.Path != "" || cfg.Flags != nil
}

// Audiences returns what the server calls itself: its service account issuers,
// unless it is told otherwise.
func (c *Configuration) Audiences() []string {
	if len(c.Authentication.APIAudiences) > 0 {
		return c.Authentication.APIAudiences
	}
	return c.ServiceAccounts.Issuers
}

// issuers checks who may issue tokens, with the code that reads them at start.
func (k *check) issuers() {
	j, o := &k.c.Authentication.JWT, &k.c.Authentication.OIDC
	known, _ := issuers.Algorithms()
	before := len(k.problems)
	k.together(&o.IssuerURL, &o.ClientID)
	if o.IssuerURL == "" && o.ClientID == "" {
		k.unused("authentication.oidc.", nil, "has no effect without "+k.name(&o.IssuerURL), "remove it, or name the issuer")
	}
	cfg, configured := k.c.Issuers()
	if !configured {
		k.unused("authentication.jwt.", nil, "has no effect without "+k.name(&j.ConfigFile), "remove it, or name the issuers")
		return
	}
	if cfg.Path != "" && cfg.Flags != nil {
		k.refuse(&j.ConfigFile, "write the issuer into the file", "may not be given together with %s", k.name(&o.IssuerURL))
		return
	}
	k.set(&o.SigningAlgs, known...)
	k.set(&j.SigningAlgs, known...)
	for _, algs := range []*[]string{&o.SigningAlgs, &j.SigningAlgs} {
		if len(*algs) == 0 {
			k.refuse(algs, "choose from "+strings.Join(known, ", "), "is empty, so that no token would be accepted")
		}
	}
	if j.MaxKeyAge < Duration(time.Hour) {
		// Keys are fetched once an hour in any case.
		k.refuse(&j.MaxKeyAge, "choose 1h or more", "%s is too short to fetch keys in time", j.MaxKeyAge)
	}
	k.set(&j.ReservedNames)
	k.set(&j.ClaimSources)
	if len(k.problems) > before || cfg.Path != "" && readable(cfg.Path) != nil || o.CAFile != "" && readable(o.CAFile) != nil {
		return // what follows would say the same in other words
	}
	if o.CAFile != "" {
		if _, err := pki.Fingerprints(o.CAFile); err != nil {
			k.refuse(&o.CAFile, "name the CA certificates of the issuer, in PEM form", "%v", err)
			return
		}
	}
	described, err := issuers.Check(cfg)
	k.issuerProblems(cfg, err)
	k.anonymous = described
	a := &k.c.Authentication
	if described != nil && k.c.where[k.by[&a.Anonymous].path] != "" {
		k.refuse(&a.Anonymous, "remove one of the two", "may not be given where %s says anonymous", k.name(&j.ConfigFile))
	}
}

// issuerProblems tells each problem of its own in a file that was read.
func (k *check) issuerProblems(cfg issuers.Config, err error) {
	var at any = &k.c.Authentication.JWT.ConfigFile
	if cfg.Flags != nil {
		at = &k.c.Authentication.OIDC.IssuerURL
	}
	const mend = "correct it; docs/oidc.md has examples"
	if all, ok := errors.AsType[issuers.Problems](err); ok {
		for _, each := range all {
			k.refuse(at, mend, "%v", each)
		}
	} else if err != nil {
		k.refuse(at, mend, "%v", err)
	}
}
