// Package anonymous admits requests that present no credential at all.
//
// It is never a link of a chain, but what [authn.OrAnonymous] asks once a chain
// has found nothing: a credential that was refused never gets here. It refuses
// nothing either; where anonymous requests are not admitted it finds no
// credential.
package anonymous

import (
	"net/http"
	"slices"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// An Authenticator admits requests as [identity.Anonymous].
type Authenticator struct {
	paths []string
	who   *authn.Result
}

var errElsewhere = authn.Pass(identity.Unauthenticated, "the path is not among those that are served without a credential")

// New returns an [authn.Authenticator] that admits anonymous requests to
// exactly the given paths, or to all paths if none is given. The paths are
// compared with those of the address byte by byte, as the conditions of
// Kubernetes' AuthenticationConfiguration are.
func New(paths ...string) *Authenticator {
	return &Authenticator{
		paths: slices.Clone(paths),
		who: &authn.Result{Identity: &identity.Identity{
			Name:       identity.Anonymous,
			Groups:     []string{identity.GroupUnauthenticated},
			Credential: identity.Credential{Method: identity.Unauthenticated},
		}},
	}
}

// Authenticate implements [authn.Authenticator].
func (a *Authenticator) Authenticate(r *http.Request) (*authn.Result, error) {
	if len(a.paths) > 0 && !slices.Contains(a.paths, r.URL.Path) {
		return nil, a.elsewhere(r.URL.Path)
	}
	return a.who, nil
}

// elsewhere says that a path is not served to everybody.
func (a *Authenticator) elsewhere(path string) error {
	return authn.Explained(errElsewhere, "", func() authn.Facts {
		return authn.Facts{
			Checks: []authn.Check{{What: "path", Got: path, Want: "one of " + authn.List(a.paths)}},
			Mend:   "send a credential with the request, or add the path to anonymous.conditions of the AuthenticationConfiguration",
		}
	})
}

// Describe implements [authn.Described].
func (a *Authenticator) Describe() (identity.Method, string) { return identity.Unauthenticated, "" }
