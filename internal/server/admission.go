package server

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/authz/rbac/escalation"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/admission"
	"gatehouse.dev/gatehouse/internal/revocation"
)

// admission returns the plugins that are on, in upstream's order, and what
// cannot be switched off.
func (s *Server) admission() admission.Chain {
	plugins := []struct {
		name   string
		plugin admission.Plugin
	}{
		{"NamespaceLifecycle", admission.Lifecycle{Namespace: func(ctx context.Context, name string) (*corev1.Namespace, error) {
			return s.objects.namespaces.Get(ctx, "", name)
		}}},
		{"ServiceAccount", admission.ServiceAccount{Account: func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
			return s.objects.accounts.Get(ctx, namespace, name)
		}}},
		{"CertificateApproval", admission.Approval{Authorizer: s.authorizer}},
		{"CertificateSigning", admission.Signing{Authorizer: s.authorizer}},
		{"ClusterTrustBundleAttest", admission.Attest{Authorizer: s.authorizer}},
		{"CertificateSubjectRestriction", admission.SubjectRestriction{}},
		{"NodeRestriction", admission.NodeRestriction{
			Authorizer: s.authorizer,
			Pod: func(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
				return s.objects.pods.Get(ctx, namespace, name)
			},
			Node: func(ctx context.Context, name string) (*corev1.Node, error) {
				return s.objects.nodes.Get(ctx, "", name)
			},
		}},
	}
	chain := admission.Chain{
		admission.Containers{},
		admission.Escalation{Guard: &escalation.Guard{Authorizer: s.authorizer, Policy: livePolicy{s.index, s}}},
		admission.Revocations{
			Hits: revocation.Hits, Administrators: s.administrators, Issued: s.issued,
			Revoked: func(who *identity.Identity) bool { return s.revoked.Judge(who) != nil },
		},
	}
	for _, p := range plugins {
		// All of them are on by default, so only switching off says anything.
		if !slices.Contains(s.cfg.Admission.Disable, p.name) {
			chain = append(chain, p.plugin)
		}
	}
	return chain
}

// roleTimeout bounds how long the judging of a binding waits for the store.
const roleTimeout = 10 * time.Second

// livePolicy has the rules of users from the index, and those of the role that
// a binding refers to from the store: a binding often follows its role at once,
// and must not be judged by what the role allowed before.
type livePolicy struct {
	*rbac.Index
	server *Server
}

func (p livePolicy) RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	ctx, cancel := context.WithTimeout(p.server.draining, roleTimeout)
	defer cancel()
	if ref.Kind == "ClusterRole" {
		role, err := p.server.objects.clusterRoles.Get(ctx, "", ref.Name)
		if err != nil {
			return nil, err
		}
		return role.Rules, nil
	}
	role, err := p.server.objects.roles.Get(ctx, namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	return role.Rules, nil
}
