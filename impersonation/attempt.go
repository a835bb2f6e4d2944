package impersonation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// nodeKeys is the only attribute of a caller that is asked about in the mode
// associated-node: the names of the others. That he runs on the node is known.
const nodeKeys = "authentication.kubernetes.io/associated-node-keys"

// many is how many groups, or attributes, are first asked about as one.
const many = 4

// An attempt is that of a caller to act as somebody in one mode.
type attempt struct {
	*Checker
	*mode
	caller *identity.Identity
	want   *Wanted
	// asker is the caller as the authorizer sees him.
	asker *identity.Identity
}

func (c *Checker) attempt(m *mode, caller *identity.Identity, want *Wanted) *attempt {
	t := &attempt{c, m, caller, want, caller}
	if m.name == associatedNode {
		asker := *caller
		asker.Extra = map[string][]string{nodeKeys: slices.Sorted(maps.Keys(caller.Extra))}
		t.asker = &asker
	}
	return t
}

// decide asks for all that the mode needs.
func (t *attempt) decide(ctx context.Context, request *authz.Attributes) (*Grant, error) {
	grant := &Grant{}
	if t.constrained() {
		grant.Constraint = t.verb()
		on := *request
		on.User = t.asker
		on.Verb = "impersonate-on:" + t.name + ":" + request.Verb
		if err := t.ask(ctx, &on); err != nil {
			return nil, err
		}
	}
	for _, check := range []func(context.Context) error{t.user, t.uid, t.groups, t.extra} {
		if err := check(ctx); err != nil {
			return nil, err
		}
	}
	grant.Identity = &identity.Identity{
		Name: t.want.Name, UID: t.want.UID, Groups: t.groupsOf(), Extra: t.want.Extra,
		Credential: t.caller.Credential, Impersonator: t.caller,
	}
	return grant, nil
}

// groupsOf returns the groups of whom the caller acts as: those asked for, or
// those that a user of the kind has.
func (t *attempt) groupsOf() []string {
	groups := t.want.Groups
	if len(groups) == 0 {
		if namespace, _, ok := serviceAccountOf(t.want.Name); ok {
			groups = []string{identity.GroupServiceAccounts, identity.ServiceAccountGroupPrefix + namespace}
		} else if _, ok := nodeOf(t.want.Name); ok && t.constrained() {
			groups = []string{nodesGroup}
		}
	}
	if t.want.Name == identity.Anonymous && !slices.Contains(groups, identity.GroupUnauthenticated) {
		groups = append(slices.Clone(groups), identity.GroupUnauthenticated)
	}
	return identity.WithAuthenticated(t.want.Name, groups)
}

func (t *attempt) user(ctx context.Context) error {
	a := t.about("users", t.want.Name)
	if namespace, name, ok := serviceAccountOf(t.want.Name); ok {
		a.Resource, a.Namespace, a.Name = "serviceaccounts", namespace, name
	} else if name, ok := nodeOf(t.want.Name); ok && t.constrained() {
		a.Resource, a.Name = "nodes", name
		if t.name == associatedNode {
			a.Name = "*"
		}
	}
	return t.ask(ctx, a)
}

func (t *attempt) uid(ctx context.Context) error {
	if t.want.UID == "" {
		return nil
	}
	return t.ask(ctx, t.detail("uids", t.want.UID))
}

func (t *attempt) groups(ctx context.Context) error {
	groups := t.want.Groups
	if t.constrained() {
		switch {
		case slices.Contains(groups, ""):
			return &Refusal{Asked: *t.about("groups", ""), Reason: "impersonating the empty string group is not allowed", Verdict: authz.Deny}
		case slices.Contains(groups, identity.GroupMasters):
			return &Refusal{Asked: *t.about("groups", identity.GroupMasters), Reason: "impersonating the system:masters group is not allowed", Verdict: authz.Deny}
		case len(groups) >= many && t.ask(ctx, t.about("groups", "*")) == nil:
			return nil
		}
	}
	for _, group := range groups {
		if err := t.ask(ctx, t.about("groups", group)); err != nil {
			return err
		}
	}
	return nil
}

func (t *attempt) extra(ctx context.Context) error {
	if t.constrained() {
		if err := checkExtra(t.want.Extra); err != nil {
			return &Refusal{Asked: *t.detail("userextras", ""), Reason: err.Error(), Verdict: authz.Deny}
		}
		if t.manyExtra() {
			a := t.detail("userextras", "*")
			a.Subresource = "*"
			if t.ask(ctx, a) == nil {
				return nil
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.want.Extra)) {
		for _, value := range t.want.Extra[key] {
			a := t.detail("userextras", value)
			a.Subresource = key
			if err := t.ask(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *attempt) manyExtra() bool {
	values := 0
	for _, v := range t.want.Extra {
		values += len(v)
	}
	return max(values, len(t.want.Extra)) >= many
}

// checkExtra refuses what only the old model allows, the first key by name. The
// texts are Kubernetes'.
func checkExtra(extra map[string][]string) error {
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		if key == "" {
			return errors.New("impersonating the empty string key in extra is not allowed")
		}
		if err := utilvalidation.IsDomainPrefixedPath(field.NewPath("extra", "key"), key).ToAggregate(); err != nil {
			return fmt.Errorf("impersonating an invalid key in extra is not allowed: %w", err)
		}
		if key != strings.ToLower(key) {
			return fmt.Errorf("impersonating a non-lowercase key in extra is not allowed: %q", key)
		}
		if len(extra[key]) == 0 {
			return errors.New("impersonating empty values in extra is not allowed")
		}
		if slices.Contains(extra[key], "") {
			return errors.New("impersonating the empty string value in extra is not allowed")
		}
	}
	return nil
}

// about is the question about a user, a group or a node, which in the old model
// is in the core group.
func (t *attempt) about(resource, name string) *authz.Attributes {
	a := t.detail(resource, name)
	if !t.constrained() {
		a.APIGroup = ""
	}
	return a
}

// detail is the question about something else.
func (t *attempt) detail(resource, name string) *authz.Attributes {
	return &authz.Attributes{
		User: t.asker, Verb: t.verb(), IsResource: true,
		APIGroup: "authentication.k8s.io", APIVersion: "v1", Resource: resource, Name: name,
	}
}

// ask returns a refusal unless the authorizer allows a.
func (t *attempt) ask(ctx context.Context, a *authz.Attributes) error {
	start := time.Now()
	answer, err := t.authorizer.Authorize(ctx, a)
	allowed := answer.Verdict == authz.Allow
	t.metrics.ImpersonationChecked(t.name, allowed, time.Since(start))
	if allowed {
		return nil
	}
	return &Refusal{Asked: *a, Reason: answer.Reason(), Verdict: answer.Verdict, Cause: err}
}
