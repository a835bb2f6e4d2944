package authz

import (
	"context"
	"fmt"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"gatehouse.dev/gatehouse/identity"
)

// Rules are what a user may do in a namespace, as a SelfSubjectRulesReview
// shows them.
type Rules struct {
	Resource    []ResourceRule
	NonResource []NonResourceRule
	// Incomplete tells that the user may be allowed more than is listed.
	Incomplete bool
}

// A ResourceRule allows every one of its verbs on every one of its resources.
// The slices are shared, and must not be changed.
type ResourceRule struct {
	Verbs, APIGroups, Resources []string
	// ResourceNames is empty for all names.
	ResourceNames []string
}

// A NonResourceRule allows every one of its verbs on every one of its paths.
// The slices are shared, and must not be changed.
type NonResourceRule struct {
	Verbs, NonResourceURLs []string
}

// A RuleLister is an authorizer that can list what it allows.
type RuleLister interface {
	// RulesFor lists what user may do in namespace, which may be empty for
	// the whole cluster only. With an error, the rules found are returned too.
	RulesFor(ctx context.Context, user *identity.Identity, namespace string) (Rules, error)
}

// RulesFor returns the rules of all members in order. A member that cannot
// list its rules makes them incomplete, and is named in the error. As in
// Kubernetes, what system:masters may do is not listed.
func (c *Chain) RulesFor(ctx context.Context, user *identity.Identity, namespace string) (Rules, error) {
	var all Rules
	var errs []error
	for _, m := range c.rest {
		lister, ok := m.Authorizer.(RuleLister)
		if !ok {
			all.Incomplete = true
			errs = append(errs, fmt.Errorf("%s authorizer does not support user rule resolution", m.Name))
			continue
		}
		rules, err := lister.RulesFor(ctx, user, namespace)
		if err != nil {
			errs = append(errs, err)
		}
		all.Resource = append(all.Resource, rules.Resource...)
		all.NonResource = append(all.NonResource, rules.NonResource...)
		all.Incomplete = all.Incomplete || rules.Incomplete
	}
	if len(errs) == 0 {
		return all, nil
	}
	return all, utilerrors.NewAggregate(errs)
}
