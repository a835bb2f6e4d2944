package admission_test

import (
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"

	ours "gatehouse.dev/gatehouse/internal/admission"
)

// Whom to trust in the name of a signer is said by who may attest for it.
func TestAttest(t *testing.T) {
	const signer = "example.org/mine"
	bundle := func(signer, text string) *certificatesv1.ClusterTrustBundle {
		return &certificatesv1.ClusterTrustBundle{Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text}}
	}
	owned := bundle(signer, "a")
	owned.OwnerReferences, owned.Finalizers = []metav1.OwnerReference{{Name: "o"}}, []string{"example.org/f"}
	owned.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "gc"}}
	labelled := bundle(signer, "a")
	labelled.Labels = map[string]string{"a": "b"}
	kind := certificatesv1.SchemeGroupVersion.WithKind("ClusterTrustBundle")
	do := func(op admission.Operation, obj, old runtime.Object) write {
		return write{kind: kind, name: "b", resource: "clustertrustbundles", op: op, obj: obj, old: old}
	}
	const refusal = `user not permitted to attest for signerName "example.org/mine"`
	for _, tt := range []struct {
		name   string
		grants grants
		write
		code int32
		want string
	}{
		{"create", grants{"attest signers " + signer}, do(admission.Create, bundle(signer, "a"), nil), 0, ""},
		{"create in the domain", grants{"attest signers example.org/*"}, do(admission.Create, bundle(signer, "a"), nil), 0, ""},
		{"create without a signer", nil, do(admission.Create, bundle("", "a"), nil), 0, ""},
		{"create without permission", nil, do(admission.Create, bundle(signer, "a"), nil), 403, refusal},
		{"create as signer", grants{"sign signers " + signer}, do(admission.Create, bundle(signer, "a"), nil), 403, refusal},
		{"create for another", grants{"attest signers example.org/other"}, do(admission.Create, bundle(signer, "a"), nil), 403, refusal},
		{"create while the authorizer fails", grants{"error"}, do(admission.Create, bundle(signer, "a"), nil), 500, "the store is away"},
		{"update", grants{"attest signers " + signer}, do(admission.Update, bundle(signer, "b"), bundle(signer, "a")), 0, ""},
		{"update without permission", nil, do(admission.Update, bundle(signer, "b"), bundle(signer, "a")), 403, refusal},
		{"label without permission", nil, do(admission.Update, labelled, bundle(signer, "a")), 403, refusal},
		{"change nothing", nil, do(admission.Update, bundle(signer, "a"), bundle(signer, "a")), 0, ""},
		{"change owners", nil, do(admission.Update, owned, bundle(signer, "a")), 0, ""},
		{"delete", nil, do(admission.Delete, nil, bundle(signer, "a")), 0, ""},
		{"something else", grants{"attest signers " + signer}, do(admission.Create, &corev1.Pod{}, nil), 403, "expected type ClusterTrustBundle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, tt.judge(t, ours.Attest{Authorizer: tt.grants}), tt.code, tt.want)
		})
	}
}
