// Package admission judges the objects of writes that are already authorized.
//
// Each [Plugin] knows one rule of Kubernetes and answers with an error, which
// becomes the Status of a refusal, or with nil. [Chain] asks all of them and is
// the admission.Interface of the generic API server. Only a [Mutator] changes an
// object, and nothing asks the network: the facts arrive as functions.
package admission

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// A Plugin judges a write.
type Plugin interface {
	// Handles reports whether the plugin has anything to say about it.
	Handles(a admission.Attributes) bool
	// Judge returns an API error if the write must not happen.
	Judge(ctx context.Context, a admission.Attributes) error
}

// A Mutator is a plugin that completes what is written, before any plugin judges
// it.
type Mutator interface {
	Admit(ctx context.Context, a admission.Attributes) error
}

// A Chain is plugins by the name that kube-apiserver's flags give them.
type Chain []Plugin

var (
	_ admission.ValidationInterface = Chain{}
	_ admission.MutationInterface   = Chain{}
)

// Handles is true: which plugin handles what is asked for each write.
func (c Chain) Handles(admission.Operation) bool { return true }

// Admit has what is written completed, until one plugin refuses it.
func (c Chain) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	for _, p := range c {
		if m, ok := p.(Mutator); ok && p.Handles(a) {
			if err := m.Admit(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate returns the first refusal.
func (c Chain) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	for _, p := range c {
		if !p.Handles(a) {
			continue
		}
		if err := p.Judge(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// errNoCaller is a broken invariant: every request that reaches admission has
// passed the front door.
var errNoCaller = errors.New("internal error: a write without an authenticated caller")

// caller returns who makes the write.
func caller(info user.Info) (*identity.Identity, error) {
	id, ok := info.(*identity.Identity)
	if !ok || id == nil {
		return nil, errNoCaller
	}
	return id, nil
}

// permitted reports whether the caller has a permission of its own beside the
// one that let the request in.
func permitted(ctx context.Context, authorizer authz.Authorizer, a *authz.Attributes) (bool, error) {
	answer, err := authorizer.Authorize(ctx, a)
	if answer.Verdict == authz.Allow {
		return true, nil
	}
	return false, err
}
