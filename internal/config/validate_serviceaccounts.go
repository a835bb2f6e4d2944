package config

import (
	"net/url"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/internal/openid"
)

// The longest and shortest that a service account token may be limited to, as
// in kube-apiserver.
const (
	minTokenExpiration = Duration(time.Hour)
	maxTokenExpiration = Duration((1 << 32) * time.Second)
)

// Discoverable reports whether others can find the keys of the first issuer by
// its name.
func (s *ServiceAccounts) Discoverable() bool {
	return len(s.Issuers) > 0 && openid.Discoverable(s.Issuers[0]) == nil
}

func (k *check) serviceAccounts() {
	s := &k.c.ServiceAccounts
	k.set(&k.c.Authentication.APIAudiences)
	k.set(&s.KeyFiles)
	k.set(&s.Issuers)
	if len(s.Issuers) == 0 {
		k.refuse(&s.Issuers, "set it to the URL under which clients reach this server", "is not set")
	}
	for _, issuer := range s.Issuers {
		if !strings.Contains(issuer, ":") {
			continue // a plain string, which RFC 7519 section 2 (StringOrURI) allows
		}
		if _, err := url.Parse(issuer); err != nil {
			k.refuse(&s.Issuers, "write a URL, or a string without a colon", "%q has a colon and is not a URL", issuer)
		}
	}
	if s.SigningKeyFile != "" && len(s.KeyFiles) == 0 {
		k.refuse(&s.SigningKeyFile, "name the file with its public key as well, or the same file again",
			"is given without %s", k.name(&s.KeyFiles))
	}
	if !s.Lookup {
		k.refuse(&s.Lookup, "remove it", "cannot be switched off here: a token would outlive its account")
	}
	if s.SigningEndpoint != "" && (s.SigningKeyFile != "" || len(s.KeyFiles) > 0) {
		k.refuse(&s.SigningEndpoint, "remove one of the two; the signer tells the keys that verify, too",
			"cannot be used together with %s and %s", k.name(&s.SigningKeyFile), k.name(&s.KeyFiles))
	}
	if s.JWKSURI != "" {
		u, err := url.Parse(s.JWKSURI)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "":
			k.refuse(&s.JWKSURI, "write it as https://HOST/PATH", "%q is no https URL", s.JWKSURI)
		case len(s.Issuers) > 0 && !s.Discoverable():
			k.refuse(&s.JWKSURI, "remove it, or make the first issuer an https URL without a query and a fragment",
				"has no effect: nobody can discover the issuer %q", s.Issuers[0])
		}
	}
	if s.LegacyTokenCleanUpPeriod <= 0 {
		k.refuse(&s.LegacyTokenCleanUpPeriod, "choose a duration such as 8760h", "%s is not positive", s.LegacyTokenCleanUpPeriod)
	}
	if d := s.MaxTokenExpiration; d != 0 && (d < minTokenExpiration || d > maxTokenExpiration) {
		k.refuse(&s.MaxTokenExpiration, "choose one from 1h to 2^32 seconds, or 0s for no limit", "%s is out of range", d)
	}
}
