package serviceaccount

import (
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// claims are what a token with a good signature says. They never change, and
// are remembered as long as they can be of use.
type claims struct {
	subject   string
	audiences []string

	notBefore, warnAfter time.Time // zero if absent

	namespace string
	group     string // that of all accounts of the namespace, which ends with its name
	account   ref
	// What the token is bound to. The name alone of secret is set in a legacy
	// token.
	secret, pod, node ref

	who   identity.Identity // its credential has the other claims
	lists [8]string         // the groups of who, and the values of its extra
	keys  authn.Stamp
}

// A ref names one object.
type ref struct {
	name, uid string
	there     bool // or there is none
}

// Fresh reports whether the signature need not be verified again.
func (c *claims) Fresh(now time.Time) bool {
	end := c.who.Credential.ExpiresAt
	return c.keys.Current() && (end.IsZero() || !now.After(end.Add(leeway)))
}

// settle settles whom the claims are about, once they are read.
func (c *claims) settle() error {
	if c.who.Credential.Method == identity.LegacyServiceAccount {
		if err := c.checkLegacy(); err != nil {
			return err
		}
	}
	for _, name := range []string{c.namespace, c.account.name} {
		// Names of objects have neither; with them, two pairs could be one.
		if name == "" || strings.IndexByte(name, ':') >= 0 || strings.IndexByte(name, '/') >= 0 {
			return errors.New("the claims do not name a service account")
		}
	}
	c.identify()
	return nil
}

// checkLegacy wants all claims there are. Texts are Kubernetes'.
func (c *claims) checkLegacy() error {
	switch {
	case c.subject == "":
		return errors.New("sub claim is missing")
	case c.namespace == "":
		return errors.New("namespace claim is missing")
	case c.secret.name == "":
		return errors.New("secretName claim is missing")
	case c.account.name == "":
		return errors.New("serviceAccountName claim is missing")
	case c.account.uid == "":
		return errors.New("serviceAccountUID claim is missing")
	case c.subject != identity.ServiceAccountPrefix+c.namespace+":"+c.account.name:
		return errors.New("sub claim is invalid")
	}
	return nil
}

// identify says whom the claims are about (k8s.io/apiserver
// pkg/authentication/serviceaccount/util.go).
func (c *claims) identify() {
	groups := append(c.lists[:0], identity.GroupServiceAccounts, c.group, identity.GroupAuthenticated)
	c.who.Name, c.who.UID, c.who.Groups = c.user(), c.account.uid, slices.Clip(groups)
	if c.who.Credential.Method == identity.LegacyServiceAccount {
		c.who.Credential.ID = "SECRET=" + c.namespace + "/" + c.secret.name
		return
	}
	c.who.Extra = c.extra(c.lists[len(groups):len(groups)])
}

// user returns the name of the account, which most tokens have as their subject.
func (c *claims) user() string {
	rest, is := strings.CutPrefix(c.subject, identity.ServiceAccountPrefix)
	namespace, account, _ := strings.Cut(rest, ":")
	if is && namespace == c.namespace && account == c.account.name {
		return c.subject
	}
	return identity.ServiceAccountPrefix + c.namespace + ":" + c.account.name
}

// extra returns what else is told of the token, with room for its values.
func (c *claims) extra(values []string) map[string][]string {
	extra := make(map[string][]string, cap(values))
	set := func(key, value string) {
		n := len(values)
		values = append(values, value)
		extra[key] = values[n : n+1 : n+1]
	}
	if c.pod.name != "" && c.pod.uid != "" {
		set(identity.PodNameKey, c.pod.name)
		set(identity.PodUIDKey, c.pod.uid)
	}
	if c.node.name != "" {
		set(identity.NodeNameKey, c.node.name)
		if c.node.uid != "" {
			set(identity.NodeUIDKey, c.node.uid)
		}
	}
	if id := c.who.Credential.ID; id != "" {
		set(identity.CredentialIDKey, id)
	}
	if len(extra) == 0 {
		return nil
	}
	return extra
}

// checkTime returns an error if the token is not for now. Texts and leeway are
// Kubernetes'.
func (t trial) checkTime() error {
	by := &t.who.Credential
	switch {
	case !t.notBefore.IsZero() && t.now.Add(leeway).Before(t.notBefore):
		return t.refuse(errors.New("service account token is not valid yet"), authn.NotYet, mendClock)
	case !by.ExpiresAt.IsZero() && t.now.Add(-leeway).After(by.ExpiresAt):
		return t.refuse(errors.New("service account token has expired"), authn.Expired, mendFresh)
	case !by.IssuedAt.IsZero() && t.now.Add(leeway).Before(by.IssuedAt):
		return t.refuse(errors.New("service account token is issued in the future"), authn.NotYet, mendClock)
	}
	return nil
}
