// Package node authorizes what nodes ask for, with the decisions and the reasons
// of Kubernetes' Node authorizer: a node may read the secrets, config maps and
// claims of the pods that run on it, ask for tokens of their service accounts,
// keep its own Node and Lease, and read what all nodes need.
//
// The idea: kube-apiserver walks a graph from what is asked for to the node. An
// [Index] has the other direction ready: every pair of a node and something that
// one of its pods refers to is one entry of a table. So a decision is one look-up,
// whatever the number of nodes and pods. A pod that is set or deleted changes its
// own entries, and readers never wait for it.
//
// Refused is what Kubernetes refuses, by having no opinion: whatever no pod of the
// node refers to, and for mirror pods, which nodes make themselves, everything
// they refer to. What a new object is like is not known here: without the
// admission plugin NodeRestriction a node may write to the Node and the pods of
// another.
package node

import (
	"context"
	"errors"
	"fmt"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Authorize allows nodes what they need, and has no opinion on anything else and
// anybody else. There is never an error.
func (x *Index) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	name, ok := a.User.Node()
	if !ok {
		return authz.Answer{}, nil
	}
	if name == "" {
		return authz.Answer{Why: unknown(a.User.Name)}, nil
	}
	if !a.IsResource {
		return authz.Answer{}, nil
	}
	q := question{x, name, a}
	return q.answer(), nil
}

// RulesFor lists nothing: what a node may do depends on its pods.
func (x *Index) RulesFor(_ context.Context, user *identity.Identity, _ string) (authz.Rules, error) {
	if _, ok := user.Node(); !ok {
		return authz.Rules{}, nil
	}
	return authz.Rules{Incomplete: true}, errors.New("node authorizer does not support user rule resolution")
}

// unknown is the name of a node without a name.
type unknown string

func (u unknown) String() string { return fmt.Sprintf("unknown node for user %q", string(u)) }

// unrelated is the name of a node that asks for what none of its pods refers to.
type unrelated string

func (u unrelated) String() string {
	return fmt.Sprintf("no relationship found between node '%s' and this object", string(u))
}

// others is that a node asks for another Node, or, without a name, for all.
type others struct{ node, wanted string }

func (o others) String() string {
	if o.wanted == "" {
		return fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", o.node)
	}
	return fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", o.node, o.wanted)
}
