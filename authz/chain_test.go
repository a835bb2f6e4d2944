package authz_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// says is an authorizer that always says the same.
type says struct {
	verdict authz.Verdict
	why     string
	err     error
}

func (s says) Authorize(context.Context, *authz.Attributes) (authz.Answer, error) {
	answer := authz.Answer{Verdict: s.verdict}
	if s.why != "" {
		answer.Why = authz.Text(s.why)
	}
	return answer, s.err
}

func TestChain(t *testing.T) {
	fault, other := errors.New("fault"), errors.New("other")
	ann := &identity.Identity{Name: "ann", Groups: []string{"system:authenticated"}}
	root := &identity.Identity{Name: "root", Groups: []string{"dev", "system:masters"}}
	none := says{authz.NoOpinion, "no rule", nil}
	for _, tt := range []struct {
		name    string
		user    *identity.Identity
		members []authz.Authorizer
		want    string
	}{
		{"system:masters before a denial", root, []authz.Authorizer{says{authz.Deny, "never", nil}}, `1 "" <nil>`},
		{"first allow", ann, []authz.Authorizer{none, says{authz.Allow, "yes", nil}, says{authz.Deny, "no", nil}}, `1 "yes" <nil>`},
		{"first deny", ann, []authz.Authorizer{none, says{authz.Deny, "no", nil}, says{authz.Allow, "yes", nil}}, `2 "no" <nil>`},
		{"allow forgets errors before it", ann, []authz.Authorizer{says{err: fault}, says{authz.Allow, "", nil}}, `1 "" <nil>`},
		{"allow keeps its own error", ann, []authz.Authorizer{says{authz.Allow, "yes", fault}}, `1 "yes" fault`},
		{"always allow", ann, []authz.Authorizer{authz.AlwaysAllow()}, `1 "" <nil>`},

		{"nobody", ann, nil, `0 "" <nil>`},
		{"always deny", ann, []authz.Authorizer{authz.AlwaysDeny()}, `0 "m0: Everything is forbidden." <nil>`},
		{"reasons", ann, []authz.Authorizer{none, says{}, says{why: "nor here"}}, `0 "m0: no rule\nm2: nor here" <nil>`},
		{"one error", ann, []authz.Authorizer{says{err: fault}, none}, `0 "m1: no rule" fault`},
		{"errors", ann, []authz.Authorizer{says{err: fault}, says{err: other}}, `0 "" [fault, other]`},
		{"unknown verdict", ann, []authz.Authorizer{says{verdict: 7}}, `0 "" <nil>`},
		{"no user", nil, []authz.Authorizer{none},
			`0 "kubernetes.io/system-privileged-group: Error\nm0: no rule" no user on request.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var members []authz.Named
			for i, m := range tt.members {
				members = append(members, authz.Named{Name: fmt.Sprint("m", i), Authorizer: m})
			}
			chain, err := authz.NewChain(members...)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := chain.Authorize(t.Context(), &authz.Attributes{User: tt.user})
			if got := fmt.Sprintf("%d %q %v", answer.Verdict, answer.Reason(), err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNewChainRefuses(t *testing.T) {
	deny := authz.AlwaysDeny()
	for name, members := range map[string][]authz.Named{
		"no name":       {{"", deny}},
		"same name":     {{"a", deny}, {"a", deny}},
		"reserved name": {{authz.PrivilegedGroupName, deny}},
		"nil":           {{"a", nil}},
	} {
		if _, err := authz.NewChain(members...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestChainRulesFor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []authz.Named
		want    string
	}{
		{"nobody", nil, "[] [] false <nil>"},
		{"all", []authz.Named{{"deny", authz.AlwaysDeny()}, {"allow", authz.AlwaysAllow()}},
			"[{[*] [*] [*] []}] [{[*] [*]}] false <nil>"},
		{"one that cannot", []authz.Named{{"webhook", says{}}, {"allow", authz.AlwaysAllow()}},
			"[{[*] [*] [*] []}] [{[*] [*]}] true webhook authorizer does not support user rule resolution"},
	} {
		chain, err := authz.NewChain(tt.members...)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := chain.RulesFor(t.Context(), &identity.Identity{Name: "ann"}, "ns")
		if got := fmt.Sprint(rules.Resource, rules.NonResource, rules.Incomplete, err); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestChainAllocatesNothingToAllow(t *testing.T) {
	chain, err := authz.NewChain(authz.Named{Name: "deny", Authorizer: says{}}, authz.Named{Name: "allow", Authorizer: authz.AlwaysAllow()})
	if err != nil {
		t.Fatal(err)
	}
	a := &authz.Attributes{User: &identity.Identity{Name: "ann"}}
	if n := testing.AllocsPerRun(10, func() { chain.Authorize(t.Context(), a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
