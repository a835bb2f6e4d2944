package issuers_test

import (
	"slices"
	"testing"

	"gatehouse.dev/gatehouse/internal/issuers"
)

func TestMembersIn(t *testing.T) {
	for expression, want := range map[string][]string{
		`claims.hd == 'example.org'`:                          {"hd"},
		`claims.a.b + claims.c + claims.a.d`:                  {"a", "c"},
		`has(claims.hd) && claims["x-y"].size() > 0`:          {"hd", "x-y"},
		`claims.?nested.?name.orValue("")`:                    {"nested"},
		`claims.groups.exists(g, g.startsWith(claims.team))`:  {"groups", "team"},
		`claims.example__dot__org`:                            {"example.org"},
		`[claims.a, {'b': claims.b}.b].filter(x, x != '')[0]`: {"a", "b"},
		`claims[claims.which]`:                                {"which"},
		`"claims.hd"`:                                         nil,
		`other.claims.hd == user.username`:                    nil,
		`claims`:                                              nil,
		`claims. ==`:                                          nil,
	} {
		if got := issuers.MembersIn(expression, "claims"); !slices.Equal(got, want) {
			t.Errorf("%s reads %q, want %q", expression, got, want)
		}
	}
}
