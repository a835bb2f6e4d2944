// Package rbac authorizes by the roles and bindings of Kubernetes' RBAC
// (k8s.io/api/rbac/v1), with the same decisions as kube-apiserver.
//
// The idea: kube-apiserver looks at every binding for every request; an
// [Index] looks up the subjects of the caller. For each subject, in the
// cluster and in each namespace, it has the set of roles that are bound to it.
// Rules belong to the role, not to its subjects, and are broken into atoms: one
// verb on one resource. Few roles are asked one after the other; many are
// merged into one table. So a decision costs the same whatever the number of
// bindings, and a changed object costs what it touches. Objects arrive one by
// one, in any order, and readers never wait for writers: all they read is
// behind atomic pointers.
//
// Who may write roles and bindings is the business of package escalation.
//
// The package refuses what RBAC refuses: it never denies, it only has no
// opinion; a role that does not exist allows nothing and is named in the
// reason; a binding in a namespace allows nothing outside of it.
package rbac

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// An Index is all roles and bindings, arranged by subject. It is an
// [authz.Authorizer] and an [authz.RuleLister]. Make one with [New].
//
// Where several grants allow a request, the reason names the first in this
// order: bound in the cluster before bound in the namespace; to the user before
// to the groups, and those as the identity has them; ClusterRole before Role;
// by the name of the role; by the name of the binding.
type Index struct {
	hasher hasher
	// mu keeps writers apart.
	mu    sync.Mutex
	state atomic.Pointer[state]
}

// New returns an empty index.
func New() *Index {
	x := &Index{hasher: newHasher()}
	x.state.Store(newState(&x.hasher))
	return x
}

// Authorize allows what a role allows that is bound to the user or to one of
// the groups, and has no opinion on anything else. The only error is that
// there is no user.
func (x *Index) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	if a.User == nil {
		return authz.Answer{}, errors.New("no user on request")
	}
	s := x.state.Load()
	p := newProbe(&x.hasher, a)
	namespace := ""
	if a.IsResource {
		namespace = a.Namespace
	}
	g := s.cluster.find(&p)
	local := s.namespace(namespace)
	if g == nil && local != nil {
		g = local.find(&p)
	}
	if g != nil {
		return authz.Answer{Verdict: authz.Allow, Why: g}, nil
	}
	if p.missing {
		return s.denial(a.User, namespace), nil
	}
	return authz.Answer{}, nil
}

// find returns the first grant to the user or to a group, or nil.
func (sc *scope) find(p *probe) *grant {
	user := p.attributes.User
	if s, ok := sc.users.get(p.hasher.text(user.Name), &user.Name); ok {
		if g := s.find(p); g != nil {
			return g
		}
	}
	for i := range user.Groups {
		if s, ok := sc.groups.get(p.hasher.text(user.Groups[i]), &user.Groups[i]); ok {
			if g := s.find(p); g != nil {
				return g
			}
		}
	}
	return nil
}

// denial returns no opinion, because of missing roles as far as is known.
func (s *state) denial(user *identity.Identity, namespace string) authz.Answer {
	var roles missing
	for set := range s.sets(user, namespace) {
		if m := set.missing(); len(m) > 0 {
			roles = append(roles, m)
		}
	}
	if roles == nil {
		return authz.Answer{}
	}
	return authz.Answer{Why: roles}
}
