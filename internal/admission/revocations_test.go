package admission_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/identity"
	ours "gatehouse.dev/gatehouse/internal/admission"
)

// A Revocation of a certificate says which chain of renewals that is of, unless
// the renewals are to be kept.
func TestRevocationsOfRenewals(t *testing.T) {
	kept := v1alpha1.RenewalsKept
	for _, tt := range []struct {
		name   string
		object runtime.Object
		err    error
		want   string
		code   int32
	}{
		{"one of ours", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "ours"}}}, nil, "7b", 0},
		{"one of ours, and the client says something", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "ours", Chain: "8c"}}}, nil, "7b", 0},
		{"one that is forgotten", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "forgotten", Chain: "8c"}}}, nil, "8c", 0},
		{"one of somebody else", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "foreign"}}}, nil, "", 0},
		{"renewals are kept", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "ours", Renewals: kept}}}, nil, "", 0},
		{"a user", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{User: "jane"}}, errors.New("the store is away"), "", 0},
		{"not known", &v1alpha1.Revocation{Spec: v1alpha1.RevocationSpec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "ours"}}}, errors.New("the store is away"), "", 503},
		{"another object", &corev1.Pod{}, nil, "", 0},
	} {
		looked := 0
		p := ours.Revocations{Issued: func(_ context.Context, spec *v1alpha1.RevocationSpec) (*ours.Issued, error) {
			looked++
			if c := spec.Certificate; c != nil && c.TBSSHA256 == "ours" && tt.err == nil {
				return &ours.Issued{Chain: "7b"}, nil
			}
			return nil, tt.err
		}}
		w := write{obj: tt.object, kind: v1alpha1.GroupVersion().WithKind("Revocation"), resource: "revocations", op: admission.Create}
		err := p.Admit(t.Context(), w.attributes())
		var code int32
		if status := apierrors.APIStatus(nil); errors.As(err, &status) {
			code = status.Status().Code
		}
		got := ""
		if r, ok := tt.object.(*v1alpha1.Revocation); ok && r.Spec.Certificate != nil {
			got = r.Spec.Certificate.Chain
		}
		if got != tt.want || code != tt.code || (err != nil) != (tt.code != 0) {
			t.Errorf("%s: chain %q, %v; want %q, %d", tt.name, got, err, tt.want, tt.code)
		}
		if looked > 1 {
			t.Errorf("%s: looked up %d times", tt.name, looked)
		}
	}
}

// A Revocation ends after its credential, whatever the client says of that.
func TestRevocationsKnowTheEnd(t *testing.T) {
	said, real := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	token, cert := &v1alpha1.RevokedToken{Issuer: "i", JTI: "j"}, &v1alpha1.RevokedCertificate{TBSSHA256: "d"}
	for _, tt := range []struct {
		name  string
		spec  v1alpha1.RevocationSpec
		end   time.Time
		known bool
		err   error
		want  *metav1.Time
	}{
		{"a token", v1alpha1.RevocationSpec{Token: token}, real.Time, true, nil, &real},
		{"a token whose end is said to be another", v1alpha1.RevocationSpec{Token: token, CredentialExpiresAt: &said}, real.Time, true, nil, &real},
		{"a certificate", v1alpha1.RevocationSpec{Certificate: cert, CredentialExpiresAt: &said}, real.Time, true, nil, &real},
		{"a token that never ends", v1alpha1.RevocationSpec{Token: token, CredentialExpiresAt: &said}, time.Time{}, true, nil, nil},
		{"a token of others", v1alpha1.RevocationSpec{Token: token, CredentialExpiresAt: &said}, time.Time{}, false, nil, &said},
		{"a token of others without an end", v1alpha1.RevocationSpec{Token: token}, time.Time{}, false, nil, nil},
		{"a user", v1alpha1.RevocationSpec{User: "u", CredentialExpiresAt: &said}, real.Time, true, nil, &said},
		{"not known now", v1alpha1.RevocationSpec{Token: token}, time.Time{}, false, errors.New("the store is away"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &v1alpha1.Revocation{Spec: tt.spec}
			w := write{obj: r, kind: v1alpha1.GroupVersion().WithKind("Revocation"), resource: "revocations", op: admission.Create}
			chain := ours.Chain{ours.Revocations{Issued: func(context.Context, *v1alpha1.RevocationSpec) (*ours.Issued, error) {
				if !tt.known {
					return nil, tt.err
				}
				return &ours.Issued{Ends: tt.end}, nil
			}}}
			err := chain.Admit(t.Context(), w.attributes(), nil)
			if (err != nil) != (tt.err != nil) || !r.Spec.CredentialExpiresAt.Equal(tt.want) {
				t.Errorf("it ends %v, %v; want %v", r.Spec.CredentialExpiresAt, err, tt.want)
			}
		})
	}
}

func TestRevocations(t *testing.T) {
	hour := metav1.NewTime(time.Now().Add(time.Hour))
	over := metav1.NewTime(time.Now().Add(-time.Second))
	one := func(s v1alpha1.RevocationSpec) *v1alpha1.Revocation { return &v1alpha1.Revocation{Spec: s} }
	// Users and groups are all that these know of.
	hits := func(r *v1alpha1.Revocation, who *identity.Identity) bool {
		return r.Spec.User != "" && r.Spec.User == who.Name || slices.Contains(who.Groups, r.Spec.Group)
	}
	masters, root := &identity.Identity{Groups: []string{"system:masters"}}, &identity.Identity{Name: "root"}
	for _, tt := range []struct {
		name    string
		object  runtime.Object
		admins  []*identity.Identity
		revoked string
		err     error
		code    int32
		want    string
	}{
		{"somebody else", one(v1alpha1.RevocationSpec{User: "joe"}), []*identity.Identity{masters}, "", nil, 0, ""},
		{"for a while", one(v1alpha1.RevocationSpec{User: "joe", ExpiresAt: &hour}), []*identity.Identity{masters}, "", nil, 0, ""},
		{"over", one(v1alpha1.RevocationSpec{User: "joe", ExpiresAt: &over, Force: true}), nil, "", nil, 403, "is over, so nothing would be revoked"},
		{"oneself", one(v1alpha1.RevocationSpec{User: "jane"}), []*identity.Identity{masters}, "", nil, 403, "revoke what you act with yourself, user jane: set spec.force"},
		{"one's group", one(v1alpha1.RevocationSpec{Group: "dev"}), []*identity.Identity{masters}, "", nil, 403, "revoke what you act with yourself, group dev"},
		{"oneself by force", one(v1alpha1.RevocationSpec{User: "jane", Force: true}), []*identity.Identity{masters}, "", nil, 0, ""},
		{"one of two administrators", one(v1alpha1.RevocationSpec{User: "root"}), []*identity.Identity{masters, root}, "", nil, 0, ""},
		{"the last one", one(v1alpha1.RevocationSpec{User: "root"}), []*identity.Identity{root}, "", nil, 403, "the last who may do everything, user root"},
		{"the last group", one(v1alpha1.RevocationSpec{Group: "system:masters"}), []*identity.Identity{masters}, "", nil, 403, "the last who may do everything, group system:masters"},
		{"the last that is left", one(v1alpha1.RevocationSpec{Group: "system:masters"}), []*identity.Identity{root, masters}, "root", nil, 403, "the last who may do everything, group system:masters"},
		{"the last one by force", one(v1alpha1.RevocationSpec{User: "root", Force: true}), []*identity.Identity{root}, "", nil, 0, ""},
		{"nobody is left anyway", one(v1alpha1.RevocationSpec{User: "root"}), []*identity.Identity{root}, "root", nil, 0, ""},
		{"there is none", one(v1alpha1.RevocationSpec{User: "joe"}), nil, "", nil, 0, ""},
		{"not known", one(v1alpha1.RevocationSpec{User: "joe"}), nil, "", errors.New("the store is away"), 500, "the store is away"},
		{"another object", &corev1.Pod{}, nil, "", nil, 500, "no Revocation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := ours.Revocations{
				Hits: hits, Administrators: func() ([]*identity.Identity, error) { return tt.admins, tt.err },
				Revoked: func(who *identity.Identity) bool { return tt.revoked != "" && who.Name == tt.revoked },
			}
			w := write{obj: tt.object, kind: v1alpha1.GroupVersion().WithKind("Revocation"), resource: "revocations", op: admission.Create}
			expect(t, w.judge(t, p), tt.code, tt.want)
		})
	}
	for _, w := range []write{
		{kind: v1alpha1.GroupVersion().WithKind("Revocation"), resource: "revocations", op: admission.Delete},
		{kind: v1alpha1.GroupVersion().WithKind("Revocation"), resource: "revocations", op: admission.Update},
		{kind: corev1.SchemeGroupVersion.WithKind("Pod"), resource: "pods", op: admission.Create},
	} {
		if (ours.Revocations{}).Handles(w.attributes()) {
			t.Errorf("handles %s of %s", w.op, w.resource)
		}
	}
}
