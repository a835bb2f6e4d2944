package server

import (
	"context"
	"crypto/x509"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/admission"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/revocation"
)

// revocations returns what tells the feed of Revocations of a write, before that
// is answered.
func (s *Server) revocations(tell func(*revocation.Feed, *v1alpha1.Revocation)) func(string, metav1.Object) {
	return func(_ string, obj metav1.Object) {
		if r, ok := obj.(*v1alpha1.Revocation); ok {
			tell(s.revoking, r)
		}
	}
}

// laterThanAll is when the credentials of administrators are issued that nobody
// has yet: those of now may end without anybody being locked out.
const laterThanAll = 100 * 365 * 24 * time.Hour

// administrators are those who may do everything, as far as that can be known:
// the group that needs no binding, by the way in that the operator always has
// where the server has a CA of its own, and those whom a ClusterRoleBinding gives
// everything.
func (s *Server) administrators() ([]*identity.Identity, error) {
	later := identity.Credential{IssuedAt: time.Now().Add(laterThanAll)}
	operator := &identity.Identity{Groups: []string{identity.GroupMasters}, Credential: later}
	if own := s.material.authority; own != nil {
		ca := clientcert.Credential(identity.ClientCertificate, []*x509.Certificate{own.Certificate()})
		operator.Credential = identity.Credential{
			Method: identity.ClientCertificate, Issuer: ca.ID, KeyID: ca.KeyID, Above: &ca, IssuedAt: later.IssuedAt,
		}
	}
	all := []*identity.Identity{operator}
	for _, obj := range s.objects.informers.cluster.GetStore().List() {
		binding, ok := obj.(*rbacv1.ClusterRoleBinding)
		if !ok || !s.givesEverything(binding.RoleRef) {
			continue
		}
		for _, subject := range binding.Subjects {
			if who := personOf(subject); who != nil {
				who.Credential = later
				all = append(all, who)
			}
		}
	}
	return all, nil
}

// givesEverything reports whether the role that a binding refers to allows all
// verbs on all resources.
func (s *Server) givesEverything(ref rbacv1.RoleRef) bool {
	obj, found, err := s.objects.informers.clusterRoles.GetStore().GetByKey(ref.Name)
	role, ok := obj.(*rbacv1.ClusterRole)
	if err != nil || !found || !ok || ref.Kind != "ClusterRole" {
		return false
	}
	return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, rbacv1.VerbAll) && slices.Contains(r.APIGroups, rbacv1.APIGroupAll) &&
			slices.Contains(r.Resources, rbacv1.ResourceAll) && len(r.ResourceNames) == 0
	})
}

// personOf returns who is meant by the subject of a binding and by nothing else,
// or nil for the group that was looked at already.
func personOf(s rbacv1.Subject) *identity.Identity {
	switch {
	case s.Kind == rbacv1.UserKind:
		return &identity.Identity{Name: s.Name}
	case s.Kind == rbacv1.ServiceAccountKind:
		return &identity.Identity{Name: identity.ServiceAccountPrefix + s.Namespace + ":" + s.Name}
	case s.Kind == rbacv1.GroupKind && s.Name != identity.GroupMasters:
		return &identity.Identity{Groups: []string{s.Name}}
	}
	return nil
}

// issued returns what the register knows of the certificate or token that a
// Revocation names, or nil if there is nothing. Only what was signed for a request
// here is of a chain of renewals: see [pki.ChainOf].
func (s *Server) issued(ctx context.Context, spec *v1alpha1.RevocationSpec) (*admission.Issued, error) {
	e, err := s.registered(ctx, spec)
	if e == nil || err != nil {
		return nil, err
	}
	known := &admission.Issued{Ends: e.Expires}
	if spec.Certificate != nil && e.Signer != "" {
		known.Chain = pki.ChainOf(e.Serial)
	}
	return known, nil
}

// registered returns the entry of the certificate or token that a Revocation
// names, or nil if there is none.
func (s *Server) registered(ctx context.Context, spec *v1alpha1.RevocationSpec) (*register.Entry, error) {
	switch c, t := spec.Certificate, spec.Token; {
	case c != nil && c.TBSSHA256 != "":
		return s.find(ctx, identity.Credential{Method: identity.ClientCertificate, Digest: c.TBSSHA256})
	case c != nil:
		for _, a := range s.certificateStatus {
			if a.subject != c.Issuer {
				continue
			}
			if e, err := s.register.FindSerial(ctx, a.issuer, c.SerialNumber); e != nil || err != nil {
				return e, err
			}
		}
		// Of an authority that keeps no list, or of one from before.
		return s.register.FindNumber(ctx, c.SerialNumber)
	case t.JTI != "":
		e, err := s.find(ctx, identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + t.JTI})
		if e != nil && e.Issuer != t.Issuer {
			return nil, err // another issuer's, of the same jti
		}
		return e, err
	default:
		return s.find(ctx, identity.Credential{Method: identity.LegacyServiceAccount, Digest: t.SigningInputSHA256})
	}
}

// find returns the entry of a credential, or nil if there is none.
func (s *Server) find(ctx context.Context, c identity.Credential) (*register.Entry, error) {
	return s.register.Find(ctx, register.NameOf(&c))
}

// chainEnds returns when the last certificate of a chain of renewals ends, as far
// as the register knows any.
func (s *Server) chainEnds(ctx context.Context, chain string) (time.Time, error) {
	all, err := s.register.Chain(ctx, chain)
	var last time.Time
	for _, e := range all {
		if e.Expires.After(last) {
			last = e.Expires
		}
	}
	return last, err
}
