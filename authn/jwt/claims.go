package jwt

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// Claims are what a verified token says.
type Claims struct {
	object *compact.Object
	// elsewhere is a claim that was kept elsewhere, and has to be the only
	// member of its object. It is nil if there is none.
	elsewhere *compact.Object
}

// Raw returns the JSON text of a claim, or nil if there is none. The caller must
// not change it.
func (c *Claims) Raw(name string) []byte {
	if v := c.find(name); v.There() {
		return v.Raw()
	}
	return nil
}

// find returns the value of a claim, which is not there if there is none.
func (c *Claims) find(name string) compact.Value {
	if c.elsewhere != nil {
		if v := c.elsewhere.Find(name); v.There() {
			return v
		}
	}
	return c.object.Find(name)
}

// All walks over all claims, as names and JSON texts.
func (c *Claims) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, text := range c.object.All() {
			if !yield(name, text) {
				return
			}
		}
		if c.elsewhere != nil {
			c.elsewhere.All()(yield)
		}
	}
}

var errNoClaim = errors.New("claim not present")

// Text returns a claim that has to be there and to be a string. Null counts as
// the empty string, as it does in Kubernetes.
func (c *Claims) Text(name string) (string, error) {
	v := c.find(name)
	switch {
	case !v.There():
		return "", errNoClaim
	case string(v.Raw()) == "null":
		return "", nil
	}
	text, err := v.Text()
	return string(text), err
}

// Username returns the user name by a claim (Kubernetes' claimMappings.username
// with a claim). The claim must not be empty. If it is "email", the claim
// "email_verified" must be true or absent.
func (c *Claims) Username(claim, prefix string) (string, error) {
	name, err := c.Text(claim)
	if err != nil {
		return "", c.unlike(fmt.Errorf("parse username claims %q: %w", claim, err), authn.Nobody, claim, "a string")
	}
	if name == "" {
		return "", c.unlike(fmt.Errorf("parse username claims %q: it is empty", claim), authn.Nobody, claim, "a user name")
	}
	if claim == "email" {
		if verified := c.Raw("email_verified"); verified != nil && string(verified) != "true" {
			return "", c.unlike(errors.New("email not verified"), authn.Unsuitable, "email_verified", "true")
		}
	}
	return prefix + name, nil
}

// Groups returns the groups by a claim (Kubernetes' claimMappings.groups with a
// claim), which may be one string or many, or absent.
func (c *Claims) Groups(claim, prefix string) ([]string, error) {
	v := c.find(claim)
	if !v.There() || string(v.Raw()) == "null" {
		return nil, nil
	}
	groups, err := v.Strings()
	if err != nil {
		return nil, fmt.Errorf("parse groups claim %q: %w", claim, err)
	}
	if prefix != "" {
		for i, g := range groups {
			groups[i] = prefix + g
		}
	}
	return groups, nil
}

// Require returns an error unless a claim is a string of that value.
func (c *Claims) Require(name, value string) error {
	switch got, err := c.Text(name); {
	case errors.Is(err, errNoClaim):
		return c.unlike(fmt.Errorf("required claim %s not present in ID token", name), authn.Unsuitable, name, value)
	case err != nil:
		return c.unlike(fmt.Errorf("parse claim %s: %w", name, err), authn.Unsuitable, name, value)
	case got != value:
		return c.unlike(fmt.Errorf("required claim %s value does not match. Got = %.200q, want = %q", name, got, value), authn.Unsuitable, name, value)
	}
	return nil
}

// unlike returns err with what a claim is and what it should be.
func (c *Claims) unlike(err error, kind authn.Kind, claim, want string) error {
	return authn.Explained(err, kind, func() authn.Facts {
		got := "absent"
		if raw := c.Raw(claim); raw != nil {
			got = string(raw)
		}
		return authn.Facts{Checks: []authn.Check{{What: "claim " + claim, Got: got, Want: want}}}
	})
}

// A Mapping reads claims in the simple way of Kubernetes' --oidc flags.
type Mapping struct {
	// UsernameClaim is the claim with the user name; it has to be there.
	UsernameClaim, UsernamePrefix string
	// GroupsClaim is the one with the groups, or "" for none.
	GroupsClaim, GroupsPrefix string
	// UIDClaim is the one with the UID, or "" for none.
	UIDClaim string
	// Required are values that claims must have.
	Required map[string]string
}

// Identify is for [Issuer.Identify].
func (m Mapping) Identify(_ context.Context, c *Claims, who *identity.Identity) (err error) {
	if who.Name, err = c.Username(m.UsernameClaim, m.UsernamePrefix); err != nil {
		return err
	}
	if m.GroupsClaim != "" {
		if who.Groups, err = c.Groups(m.GroupsClaim, m.GroupsPrefix); err != nil {
			return err
		}
	}
	if m.UIDClaim != "" {
		if who.UID, err = c.Text(m.UIDClaim); err != nil {
			return fmt.Errorf("parse uid claim %q: %w", m.UIDClaim, err)
		}
	}
	for name, value := range m.Required {
		if err := c.Require(name, value); err != nil {
			return err
		}
	}
	return nil
}
