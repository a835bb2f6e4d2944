package serviceaccount

import (
	"bytes"
	"fmt"
	"strings"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// A reader reads a payload into claims, in one walk over its members. What it
// keeps of the text is one copy of what is wanted: our own issuers put no secret
// into a token.
type reader struct {
	*claims
	usual []string // the audiences of the server
	cuts  compact.Cuts
}

// read reads the payload of a token, whose signature was verified.
func (c *claims) read(t *claimed, audiences []string) error {
	c.who.Credential.Method, c.who.Credential.Issuer = t.method, t.issuer
	r := reader{claims: c, usual: audiences}
	var room [compact.DigestSize]byte
	r.cuts.Grow(len(room) + len(t.Payload())/2) // which is enough but for the longest names
	c.who.Credential.Digest = r.cuts.Add("", t.AppendDigest(room[:0]))
	for v := t.payload.First(); v.There(); v = v.Next() {
		if err := r.claim(v); err != nil {
			return fmt.Errorf("claim %w", err)
		}
	}
	c.namespace = strings.TrimPrefix(c.group, identity.ServiceAccountGroupPrefix)
	return c.settle()
}

func (r *reader) claim(v compact.Value) (err error) {
	switch string(v.Name()) {
	case "sub":
		return r.text(&r.subject, "", v)
	case "jti":
		return r.text(&r.who.Credential.ID, "JTI=", v)
	case "aud":
		r.audiences, err = v.StringsLike(r.usual)
	case "iat":
		r.who.Credential.IssuedAt, err = v.Time()
	case "nbf":
		r.notBefore, err = v.Time()
	case "exp":
		r.who.Credential.ExpiresAt, err = v.Time()
	default:
		if r.who.Credential.Method == identity.LegacyServiceAccount {
			return r.legacy(v)
		}
		if string(v.Name()) == "kubernetes.io" {
			return r.bound(v)
		}
	}
	return err
}

// legacy reads a private claim of a token that stands in a Secret.
func (r *reader) legacy(v compact.Value) error {
	private, is := bytes.CutPrefix(v.Name(), []byte("kubernetes.io/serviceaccount/"))
	if !is {
		return nil
	}
	switch string(private) {
	case "namespace":
		return r.text(&r.group, identity.ServiceAccountGroupPrefix, v)
	case "secret.name":
		return r.text(&r.secret.name, "", v)
	case "service-account.name":
		return r.text(&r.account.name, "", v)
	case "service-account.uid":
		return r.text(&r.account.uid, "", v)
	}
	return nil
}

// bound reads the private claims of a bound token. A binding that is not
// understood is a binding that would not be checked, so it is refused.
func (r *reader) bound(v compact.Value) error {
	v, err := v.Inner()
	if err != nil {
		return err
	}
	for ; v.There(); v = v.Next() {
		switch string(v.Name()) {
		case "namespace":
			err = r.text(&r.group, identity.ServiceAccountGroupPrefix, v)
		case "warnafter":
			r.warnAfter, err = v.Time()
		case "serviceaccount":
			err = r.ref(&r.account, v)
		case "secret":
			err = r.ref(&r.secret, v)
		case "pod":
			err = r.ref(&r.pod, v)
		case "node":
			err = r.ref(&r.node, v)
		case "validatingwebhookconfiguration", "mutatingwebhookconfiguration", "attestations":
			err = fmt.Errorf("%q is not supported", string(v.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ref reads the reference to an object.
func (r *reader) ref(to *ref, v compact.Value) error {
	to.there = true
	v, err := v.Inner()
	if err != nil {
		return err
	}
	for ; v.There(); v = v.Next() {
		switch string(v.Name()) {
		case "name":
			err = r.text(&to.name, "", v)
		case "uid":
			err = r.text(&to.uid, "", v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text reads a string that becomes what is behind the prefix.
func (r *reader) text(into *string, prefix string, v compact.Value) error {
	text, err := v.Text()
	if len(text) > 0 {
		*into = r.cuts.Add(prefix, text)
	}
	return err
}
