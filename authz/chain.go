package authz

import (
	"context"
	"errors"
	"fmt"
	"strings"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"gatehouse.dev/gatehouse/identity"
)

// PrivilegedGroupName is the name of [PrivilegedGroup] in every [Chain].
const PrivilegedGroupName = "kubernetes.io/system-privileged-group"

// A Named is an authorizer and its name in a [Chain]. The name stands before
// the authorizer's reason where nobody had an opinion.
type Named struct {
	Name       string
	Authorizer Authorizer
}

// A Chain asks authorizers in order, as the union authorizer of Kubernetes
// does (k8s.io/apiserver pkg/authorization/union). Its zero value knows only
// [PrivilegedGroup]; make others with [NewChain].
type Chain struct {
	rest []Named
}

// NewChain returns the chain of members, behind [PrivilegedGroup], which is
// always first and cannot be taken away. Names must be given and unique.
func NewChain(members ...Named) (*Chain, error) {
	seen := map[string]bool{PrivilegedGroupName: true}
	for i, m := range members {
		switch {
		case m.Name == "":
			return nil, fmt.Errorf("authorizer %d of the chain has no name", i)
		case seen[m.Name]:
			return nil, fmt.Errorf("authorizer %q is twice in the chain", m.Name)
		case m.Authorizer == nil:
			return nil, fmt.Errorf("authorizer %q of the chain is nil", m.Name)
		}
		seen[m.Name] = true
	}
	return &Chain{rest: append([]Named(nil), members...)}, nil
}

// Authorize returns the first answer that allows or denies, with the error
// that came with it and no other. If there is none, it returns no opinion, the
// reasons of all as lines "name: reason", and all errors as one.
func (c *Chain) Authorize(ctx context.Context, a *Attributes) (Answer, error) {
	var opinions opinions
	answer, err := PrivilegedGroup().Authorize(ctx, a)
	if answer.Verdict != NoOpinion {
		return answer, err
	}
	opinions.add(PrivilegedGroupName, answer, err)
	for _, m := range c.rest {
		answer, err := m.Authorizer.Authorize(ctx, a)
		if answer.Verdict == Allow || answer.Verdict == Deny {
			return answer, err
		}
		opinions.add(m.Name, answer, err)
	}
	return opinions.answer()
}

// opinions gathers what was said by those who had none. It allocates only if
// something was said.
type opinions struct {
	reasons reasons
	errs    []error
}

func (o *opinions) add(name string, a Answer, err error) {
	if err != nil {
		o.errs = append(o.errs, err)
	}
	if a.Why != nil {
		o.reasons = append(o.reasons, reason{name, a.Why})
	}
}

func (o *opinions) answer() (Answer, error) {
	var answer Answer
	if len(o.reasons) > 0 {
		answer.Why = o.reasons
	}
	if len(o.errs) == 0 {
		return answer, nil
	}
	return answer, utilerrors.NewAggregate(o.errs)
}

type reason struct {
	name string
	why  fmt.Stringer
}

type reasons []reason

func (rs reasons) String() string {
	var lines []string
	for _, r := range rs {
		if text := r.why.String(); text != "" {
			lines = append(lines, r.name+": "+text)
		}
	}
	return strings.Join(lines, "\n")
}

// PrivilegedGroup returns the authorizer that allows everything to members of
// system:masters, without a reason, and has no opinion on anybody else.
func PrivilegedGroup() Authorizer { return privilegedGroup{} }

type privilegedGroup struct{}

func (privilegedGroup) Authorize(_ context.Context, a *Attributes) (Answer, error) {
	if a.User == nil {
		// The text and its period are Kubernetes'.
		return Answer{Why: Text("Error")}, errors.New("no user on request.")
	}
	if a.User.InGroup(identity.GroupMasters) {
		return Answer{Verdict: Allow}, nil
	}
	return Answer{}, nil
}

// AlwaysAllow returns the authorizer that allows everything, without a reason.
func AlwaysAllow() Authorizer { return alwaysAllow{} }

type alwaysAllow struct{}

func (alwaysAllow) Authorize(context.Context, *Attributes) (Answer, error) {
	return Answer{Verdict: Allow}, nil
}

func (alwaysAllow) RulesFor(context.Context, *identity.Identity, string) (Rules, error) {
	all := []string{"*"}
	return Rules{
		Resource:    []ResourceRule{{Verbs: all, APIGroups: all, Resources: all}},
		NonResource: []NonResourceRule{{Verbs: all, NonResourceURLs: all}},
	}, nil
}

// AlwaysDeny returns the authorizer that allows nothing. Like Kubernetes' own
// it has no opinion, so that it forbids only what nobody after it allows.
func AlwaysDeny() Authorizer { return alwaysDeny{} }

type alwaysDeny struct{}

func (alwaysDeny) Authorize(context.Context, *Attributes) (Answer, error) {
	return Answer{Why: Text("Everything is forbidden.")}, nil
}

func (alwaysDeny) RulesFor(context.Context, *identity.Identity, string) (Rules, error) {
	return Rules{}, nil
}
