package anonymous_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/identity"
)

func TestPathConditions(t *testing.T) {
	health := []string{"/livez", "/readyz", "/healthz"}
	for _, tt := range []struct {
		name   string
		paths  []string
		target string
		in     bool
	}{
		{"no conditions", nil, "/api/v1/secrets", true},
		{"no conditions, the root", nil, "/", true},
		{"the first path", health, "/livez", true},
		{"the last path", health, "/healthz", true},
		{"with a query", health, "/livez?verbose", true},
		{"written in another way", health, "/%6Civez", true},
		{"a path that is configured with a slash at its end", []string{"/livez/"}, "/livez/", true},
		{"the root alone", []string{"/"}, "/", true},

		{"another path", health, "/api/v1/secrets", false},
		{"below a path", health, "/livez/ping", false},
		{"a slash more", health, "/livez/", false},
		{"a slash less", []string{"/livez/"}, "/livez", false},
		{"two slashes", health, "//livez", false},
		{"a beginning of a path", health, "/live", false},
		{"more than a path", health, "/livezz", false},
		{"in capitals", health, "/LIVEZ", false},
		{"by way of another path", health, "/api/../livez", false},
		{"on to another path", health, "/livez/../api/v1/secrets", false},
		{"on to another path, written in another way", health, "/livez%2F..%2Fapi", false},
		{"a path in the query", health, "/api?path=/livez", false},
		{"a zero byte behind it", health, "/livez%00", false},
		{"a space behind it", health, "/livez%20", false},
		{"a parameter behind it", health, "/livez;x=1", false},
		{"below the root", []string{"/"}, "/livez", false},
		{"no star", []string{"/*"}, "/livez", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := anonymous.New(tt.paths...).Authenticate(httptest.NewRequest(http.MethodGet, tt.target, nil))
			if !tt.in {
				if res != nil || !errors.Is(err, authn.ErrNoCredential) {
					t.Errorf("got %+v, %v; want that there is no credential", res, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := &identity.Identity{
				Name: "system:anonymous", Groups: []string{"system:unauthenticated"},
				Credential: identity.Credential{Method: identity.Unauthenticated},
			}
			if diff := cmp.Diff(want, res.Identity); diff != "" {
				t.Errorf("somebody else:\n%s", diff)
			}
		})
	}
}

// The paths are those of when it was made.
func TestPathsAreKept(t *testing.T) {
	paths := []string{"/livez"}
	a := anonymous.New(paths...)
	paths[0] = "/api"
	if _, err := a.Authenticate(httptest.NewRequest(http.MethodGet, "/api", nil)); !errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("a path that was put in later: %v", err)
	}
	if method, source := a.Describe(); method != identity.Unauthenticated || source != "" {
		t.Errorf("it is %s %q", method, source)
	}
}

// Whoever presents something bad is not anonymous, on whatever path.
func TestBadCredentialIsNotAnonymous(t *testing.T) {
	none := authn.Chain()
	refusing := authn.Bearer(authn.Tokens())
	for _, tt := range []struct {
		name   string
		chain  authn.Authenticator
		path   string
		header string
		in     bool
	}{
		{"nothing presented", none, "/livez", "", true},
		{"nothing presented, beside the token reader", refusing, "/livez", "", true},
		{"nothing presented, elsewhere", refusing, "/api", "", false},
		{"a token that nobody knows", refusing, "/livez", "Bearer bad", false},
		{"a token that nobody knows, elsewhere", refusing, "/api", "Bearer bad", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			res, err := authn.OrAnonymous(tt.chain, anonymous.New("/livez")).Authenticate(r)
			if (err == nil) != tt.in {
				t.Errorf("got %+v, %v", res, err)
			}
		})
	}
}
