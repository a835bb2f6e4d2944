package identity_test

import (
	"slices"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/identity"
)

// An identity is what every Go API server understands.
var _ user.Info = (*identity.Identity)(nil)

func TestNamesOfUpstream(t *testing.T) {
	for ours, theirs := range map[string]string{
		identity.Anonymous: user.Anonymous, identity.GroupUnauthenticated: user.AllUnauthenticated,
		identity.GroupAuthenticated: user.AllAuthenticated, identity.GroupMasters: user.SystemPrivilegedGroup,
		identity.CredentialIDKey: user.CredentialIDKey,
	} {
		if ours != theirs {
			t.Errorf("%q is %q upstream", ours, theirs)
		}
	}
}

func TestWithAuthenticated(t *testing.T) {
	for _, tt := range []struct {
		name         string
		groups, want []string
	}{
		{"jane", nil, []string{"system:authenticated"}},
		{"jane", []string{"a", "b"}, []string{"a", "b", "system:authenticated"}},
		{"jane", []string{"system:authenticated", "a"}, []string{"system:authenticated", "a"}},
		{"system:anonymou", nil, []string{"system:authenticated"}},
		// An issuer that says so does not make its users authenticated ones.
		{"jane", []string{"system:unauthenticated"}, []string{"system:unauthenticated"}},
		{"jane", []string{"System:Authenticated"}, []string{"System:Authenticated", "system:authenticated"}},
		// Nor is a stranger one, by whatever credential.
		{"system:anonymous", nil, nil},
		{"system:anonymous", []string{"a"}, []string{"a"}},
		{"system:anonymous", []string{"system:authenticated"}, []string{"system:authenticated"}},
	} {
		if got := identity.WithAuthenticated(tt.name, tt.groups); !slices.Equal(got, tt.want) {
			t.Errorf("WithAuthenticated(%q, %q) = %q, want %q", tt.name, tt.groups, got, tt.want)
		}
	}
	// Room behind the groups belongs to somebody else.
	shared := append(make([]string, 0, 4), "a", "b")
	identity.WithAuthenticated("jane", shared[:1])
	if shared[1] != "b" {
		t.Errorf("the array behind the groups was changed: %q", shared)
	}
}

func TestInGroup(t *testing.T) {
	who := &identity.Identity{Groups: []string{"dev", "system:masters"}}
	for group, want := range map[string]bool{"dev": true, "system:masters": true, "": false, "de": false, "Dev": false, "system:masters ": false} {
		if who.InGroup(group) != want {
			t.Errorf("InGroup(%q) = %v", group, !want)
		}
	}
}
