package serviceaccount

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/compact"
)

// claims are what a token with a good signature says. They never change, and
// are remembered as long as they can be of use.
type claims struct {
	method    identity.Method
	issuer    string
	subject   string
	audiences []string
	id        string

	issuedAt, notBefore, expires, warnAfter time.Time // zero if absent

	namespace string
	account   ref
	// What the token is bound to. The name alone of secret is set in a legacy
	// token.
	secret, pod, node ref

	who  identity.Identity
	keys authn.Stamp
}

// A ref names one object.
type ref struct {
	name, uid string
	there     bool // or there is none
}

// Fresh reports whether the signature need not be verified again.
func (c *claims) Fresh(now time.Time) bool {
	return c.keys.Current() && (c.expires.IsZero() || !now.After(c.expires.Add(leeway)))
}

// read reads the payload of a token, whose signature was verified.
func (c *claims) read(o compact.Object, method identity.Method) error {
	// In one copy of all, as nearly all of it is wanted: our own issuers put no
	// secret into a token.
	var err error
	r := reader{o.Keep(), &err}
	c.method = method
	c.issuer, c.subject, c.id = r.text("iss"), r.text("sub"), r.text("jti")
	c.audiences = r.texts("aud")
	c.issuedAt, c.notBefore, c.expires = r.time("iat"), r.time("nbf"), r.time("exp")
	legacy := method == identity.LegacyServiceAccount
	if legacy {
		c.readLegacy(r)
	} else {
		c.readBound(r.inner("kubernetes.io"))
	}
	if err != nil {
		return err
	}
	if legacy {
		if err := c.checkLegacy(); err != nil {
			return err
		}
	}
	for _, name := range []string{c.namespace, c.account.name} {
		// Names of objects have neither; with them, two pairs could be one.
		if name == "" || strings.ContainsAny(name, ":/") {
			return errors.New("the claims do not name a service account")
		}
	}
	c.identify()
	return nil
}

// readLegacy reads the private claims of a token that stands in a Secret.
func (c *claims) readLegacy(r reader) {
	const prefix = "kubernetes.io/serviceaccount/"
	c.namespace = r.text(prefix + "namespace")
	c.secret = ref{name: r.text(prefix + "secret.name"), there: true}
	c.account = ref{r.text(prefix + "service-account.name"), r.text(prefix + "service-account.uid"), true}
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

// readBound reads the private claims of a bound token. A binding that is not
// understood is a binding that would not be checked, so it is refused.
func (c *claims) readBound(r reader) {
	c.namespace = r.text("namespace")
	c.warnAfter = r.time("warnafter")
	c.secret, c.pod, c.node = r.ref("secret"), r.ref("pod"), r.ref("node")
	c.account = r.ref("serviceaccount")
	for _, name := range []string{"validatingwebhookconfiguration", "mutatingwebhookconfiguration", "attestations"} {
		if r.object.Has(name) {
			r.fail(fmt.Errorf("the claim %q is not supported", name))
		}
	}
}

// identify says whom the claims are about (k8s.io/apiserver
// pkg/authentication/serviceaccount/util.go).
func (c *claims) identify() {
	lists := make([]string, 0, 8) // the groups and what is told besides, in one array
	lists = append(lists, identity.GroupServiceAccounts, identity.ServiceAccountGroupPrefix+c.namespace, identity.GroupAuthenticated)
	c.who = identity.Identity{
		Name:   c.user(),
		UID:    c.account.uid,
		Groups: lists[:3:3],
		Credential: identity.Credential{
			Method:    c.method,
			Issuer:    c.issuer,
			IssuedAt:  c.issuedAt,
			ExpiresAt: c.expires,
		},
	}
	if c.method == identity.LegacyServiceAccount {
		c.who.Credential.ID = "SECRET=" + c.namespace + "/" + c.secret.name
		return
	}
	c.who.Credential.ID, c.who.Extra = c.name(lists[3:])
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

// name returns what names the token, and what else is told of it, with room for
// its values.
func (c *claims) name(values []string) (id string, extra map[string][]string) {
	extra = make(map[string][]string, cap(values))
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
	if c.id != "" {
		id = "JTI=" + c.id
		set(identity.CredentialIDKey, id)
	}
	if len(extra) == 0 {
		return id, nil
	}
	return id, extra
}

// checkTime returns an error if the token is not for now. Texts and leeway are
// Kubernetes'.
func (t trial) checkTime() error {
	switch {
	case !t.notBefore.IsZero() && t.now.Add(leeway).Before(t.notBefore):
		return t.refuse(errors.New("service account token is not valid yet"), authn.NotYet, mendClock)
	case !t.expires.IsZero() && t.now.Add(-leeway).After(t.expires):
		return t.refuse(errors.New("service account token has expired"), authn.Expired, mendFresh)
	case !t.issuedAt.IsZero() && t.now.Add(leeway).Before(t.issuedAt):
		return t.refuse(errors.New("service account token is issued in the future"), authn.NotYet, mendClock)
	}
	return nil
}

// A reader reads members of an object and keeps the first error.
type reader struct {
	object compact.Object
	err    *error
}

func (r reader) fail(err error) {
	if *r.err == nil {
		*r.err = err
	}
}

func read[T any](r reader, get func(compact.Object, string) (T, error), name string) T {
	v, err := get(r.object, name)
	if err != nil {
		r.fail(fmt.Errorf("claim %w", err))
	}
	return v
}

func (r reader) text(name string) string    { return read(r, compact.Object.String, name) }
func (r reader) texts(name string) []string { return read(r, compact.Object.Strings, name) }
func (r reader) time(name string) time.Time { return read(r, compact.Object.Time, name) }

func (r reader) inner(name string) reader {
	return reader{read(r, compact.Object.Object, name), r.err}
}

// ref returns the reference of that name.
func (r reader) ref(name string) ref {
	if !r.object.Has(name) {
		return ref{}
	}
	in := r.inner(name)
	return ref{in.text("name"), in.text("uid"), true}
}
