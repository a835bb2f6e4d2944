package admission_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac/escalation"
	"gatehouse.dev/gatehouse/identity"
	ours "gatehouse.dev/gatehouse/internal/admission"
)

var jane user.Info = &identity.Identity{Name: "jane", Groups: []string{"dev"}}

// A write is what the library tells of a write.
type write struct {
	old, obj            runtime.Object
	kind                schema.GroupVersionKind
	namespace, name     string
	resource, sub       string
	op                  admission.Operation
	options             runtime.Object
	dryRun              bool
	who                 user.Info
	nameInPath          string
	anotherKindOfCaller bool
}

func (w write) attributes() admission.Attributes {
	who := jane
	if w.anotherKindOfCaller {
		who = w.who
	}
	gvr := w.kind.GroupVersion().WithResource(w.resource)
	return admission.NewAttributesRecord(w.obj, w.old, w.kind, w.namespace, w.name, gvr, w.sub, w.op, w.options, w.dryRun, who)
}

// judge asks a plugin as the library does, through a chain.
func (w write) judge(t *testing.T, p ours.Plugin) error {
	t.Helper()
	ctx := genericapirequest.WithRequestInfo(t.Context(), &genericapirequest.RequestInfo{Name: w.nameInPath})
	return ours.Chain{p}.Validate(ctx, w.attributes(), nil)
}

// expect holds err to be nil if want is empty, and else a status with that code
// that says want.
func expect(t *testing.T, err error, code int32, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != code || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %d with %q", err, code, want)
	}
}

// grants is an authorizer of "verb resource name" in it, and of nothing else.
type grants []string

func (g grants) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	if slices.Contains(g, "error") {
		return authz.Answer{}, errors.New("the store is away")
	}
	if slices.Contains(g, a.Verb+" "+a.Resource+" "+a.Name) && a.User == jane.(*identity.Identity) && a.APIVersion == "*" && a.IsResource {
		return authz.Answer{Verdict: authz.Allow}, nil
	}
	return authz.Answer{}, nil
}

func TestLifecycle(t *testing.T) {
	now := metav1.Now()
	namespaces := map[string]*corev1.Namespace{
		"active":   {Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}},
		"new":      {},
		"ending":   {Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating}},
		"marked":   {ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}},
		"finished": nil,
	}
	p := ours.Lifecycle{Namespace: func(_ context.Context, name string) (*corev1.Namespace, error) {
		if ns := namespaces[name]; ns != nil {
			return ns, nil
		}
		return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
	}}
	const terminated = "because it is being terminated"
	pod, namespace := corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithKind("Namespace")
	for _, tt := range []struct {
		name string
		write
		code int32
		want string
	}{
		{"in an active namespace", write{kind: pod, namespace: "active", resource: "pods", op: admission.Create}, 0, ""},
		{"in a new namespace", write{kind: pod, namespace: "new", resource: "pods", op: admission.Create}, 0, ""},
		{"in a terminating namespace", write{kind: pod, namespace: "ending", resource: "pods", op: admission.Create}, 403, terminated},
		{"in a marked namespace", write{kind: pod, namespace: "marked", resource: "pods", op: admission.Create}, 403, terminated},
		{"a token in a terminating namespace", write{kind: pod, namespace: "ending", resource: "serviceaccounts", sub: "token", op: admission.Create}, 403, terminated},
		{"in no namespace", write{kind: pod, namespace: "finished", resource: "pods", op: admission.Create}, 404, "not found"},
		{"update in a terminating namespace", write{kind: pod, namespace: "ending", resource: "pods", op: admission.Update}, 0, ""},
		{"delete in a terminating namespace", write{kind: pod, namespace: "ending", resource: "pods", op: admission.Delete}, 0, ""},
		{"of the cluster", write{kind: pod, resource: "nodes", op: admission.Create}, 0, ""},
		{"a namespace", write{kind: namespace, namespace: "finished", name: "finished", resource: "namespaces", op: admission.Create}, 0, ""},
		{"deleting a namespace", write{kind: namespace, namespace: "active", name: "active", resource: "namespaces", op: admission.Delete}, 0, ""},
		{"deleting default", write{kind: namespace, namespace: "default", name: "default", resource: "namespaces", op: admission.Delete}, 403, "this namespace may not be deleted"},
		{"deleting kube-system", write{kind: namespace, namespace: "kube-system", name: "kube-system", resource: "namespaces", op: admission.Delete}, 403, "this namespace may not be deleted"},
		{"deleting kube-public", write{kind: namespace, namespace: "kube-public", name: "kube-public", resource: "namespaces", op: admission.Delete}, 403, "this namespace may not be deleted"},
		{"kind Namespace of another group", write{kind: schema.GroupVersionKind{Group: "a", Version: "v1", Kind: "Namespace"}, name: "default", resource: "namespaces", op: admission.Delete}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.judge(t, p)
			expect(t, err, tt.code, tt.want)
			if tt.want == terminated && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				t.Errorf("no cause in %v", err)
			}
		})
	}
}

func signingRequest(signer string, conditions ...certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer}}
	for _, c := range conditions {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c})
	}
	return r
}

// Who approves and signs is asked for by the signer that is stored.
func TestSigners(t *testing.T) {
	const mine, other = "example.org/mine", "example.org/other"
	kind := certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest")
	on := func(sub string, old, obj runtime.Object) write {
		return write{kind: kind, name: "r", resource: "certificatesigningrequests", sub: sub, op: admission.Update, old: old, obj: obj}
	}
	signed := signingRequest(mine)
	signed.Status.Certificate = []byte("certificate")
	stranger := on("approval", signingRequest(mine), signingRequest(mine))
	stranger.who, stranger.anotherKindOfCaller = &user.DefaultInfo{Name: "jane"}, true
	nobody := stranger
	nobody.who = nil
	for _, tt := range []struct {
		name   string
		grants grants
		write
		code int32
		want string
	}{
		{"approve", grants{"approve signers " + mine}, on("approval", signingRequest(mine), signingRequest(mine)), 0, ""},
		{"approve in the domain", grants{"approve signers example.org/*"}, on("approval", signingRequest(mine), signingRequest(mine)), 0, ""},
		{"approve without permission", nil, on("approval", signingRequest(mine), signingRequest(mine)), 403, `user not permitted to approve requests with signerName "example.org/mine"`},
		{"approve for another signer", grants{"approve signers " + other}, on("approval", signingRequest(mine), signingRequest(mine)), 403, "not permitted"},
		{"approve under a changed name", grants{"approve signers " + other}, on("approval", signingRequest(mine), signingRequest(other)), 403, "not permitted"},
		{"approve as signer", grants{"sign signers " + mine}, on("approval", signingRequest(mine), signingRequest(mine)), 403, "not permitted"},
		{"approve while the authorizer fails", grants{"error"}, on("approval", signingRequest(mine), signingRequest(mine)), 500, "the store is away"},
		{"approve something else", grants{"approve signers " + mine}, on("approval", &corev1.Pod{}, signingRequest(mine)), 500, "no CertificateSigningRequest"},
		{"approve as another kind of caller", grants{"approve signers " + mine}, stranger, 500, "without an authenticated caller"},
		{"approve as nobody", grants{"approve signers " + mine}, nobody, 500, "without an authenticated caller"},
		{"sign", grants{"sign signers " + mine}, on("status", signingRequest(mine), signed), 0, ""},
		{"sign without permission", nil, on("status", signingRequest(mine), signed), 403, `user not permitted to sign requests with signerName "example.org/mine"`},
		{"sign as approver", grants{"approve signers " + mine}, on("status", signingRequest(mine), signed), 403, "not permitted"},
		{"take a certificate away", nil, on("status", signed, signingRequest(mine)), 403, "not permitted"},
		{"fail", nil, on("status", signingRequest(mine), signingRequest(mine, certificatesv1.CertificateFailed)), 403, "not permitted"},
		{"fail with permission", grants{"sign signers example.org/*"}, on("status", signingRequest(mine), signingRequest(mine, certificatesv1.CertificateFailed)), 0, ""},
		{"change neither", nil, on("status", signed, signed), 0, ""},
		{"sign while the authorizer fails", grants{"error"}, on("status", signingRequest(mine), signed), 500, "the store is away"},
		{"sign something else", grants{"sign signers " + mine}, on("status", &corev1.Pod{}, signed), 500, "no CertificateSigningRequest"},
		{"update of the request", nil, on("", signingRequest(mine), signingRequest(mine)), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			err := ours.Chain{ours.Approval{Authorizer: tt.grants}, ours.Signing{Authorizer: tt.grants}}.Validate(ctx, tt.attributes(), nil)
			expect(t, err, tt.code, tt.want)
		})
	}
}

func TestSubjectRestriction(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := func(organizations ...string) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: organizations}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	kind := certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest")
	for _, tt := range []struct {
		name, signer string
		request      []byte
		want         string
	}{
		{"a group", certificatesv1.KubeAPIServerClientSignerName, from("dev"), ""},
		{"no group", certificatesv1.KubeAPIServerClientSignerName, from(), ""},
		{"masters", certificatesv1.KubeAPIServerClientSignerName, from("system:masters"), "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"},
		{"masters among others", certificatesv1.KubeAPIServerClientSignerName, from("dev", "system:masters"), "is not allowed"},
		{"masters of another signer", "example.org/mine", from("system:masters"), ""},
		{"no PEM", certificatesv1.KubeAPIServerClientSignerName, []byte("none"), "no PEM block"},
		{"no request", certificatesv1.KubeAPIServerClientSignerName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}), "parsing spec.request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := signingRequest(tt.signer)
			r.Spec.Request = tt.request
			w := write{kind: kind, resource: "certificatesigningrequests", op: admission.Create, obj: r}
			expect(t, w.judge(t, ours.SubjectRestriction{}), 403, tt.want)
		})
	}
	w := write{kind: kind, resource: "certificatesigningrequests", op: admission.Create, obj: &corev1.Pod{}}
	expect(t, w.judge(t, ours.SubjectRestriction{}), 500, "no CertificateSigningRequest")
}

func TestContainers(t *testing.T) {
	run := func(change func(*write)) write {
		w := write{
			kind: corev1.SchemeGroupVersion.WithKind("Pod"), namespace: "x", resource: "pods", op: admission.Create,
			obj: &corev1.Pod{}, options: &metav1.CreateOptions{FieldManager: "kubectl-run"},
		}
		change(&w)
		return w
	}
	for _, tt := range []struct {
		name   string
		change func(*write)
		want   string
	}{
		{"run", func(*write) {}, "runs no containers"},
		{"rehearsed", func(w *write) { w.dryRun = true }, ""},
		{"create", func(w *write) { w.options = &metav1.CreateOptions{FieldManager: "kubectl-create"} }, ""},
		{"without options", func(w *write) { w.options = nil }, ""},
		{"update", func(w *write) { w.op = admission.Update }, ""},
		{"something else", func(w *write) { w.resource = "secrets" }, ""},
		{"subresource", func(w *write) { w.sub = "status" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { expect(t, run(tt.change).judge(t, ours.Containers{}), 403, tt.want) })
	}
}

// has is the policy of a caller with rules of its own, and of one role.
type has struct{ own, role []rbacv1.PolicyRule }

func (h has) Rules(*identity.Identity, string) ([]rbacv1.PolicyRule, error) { return h.own, nil }
func (h has) RoleRules(ref rbacv1.RoleRef, _ string) ([]rbacv1.PolicyRule, error) {
	if ref.Name != "role" {
		return nil, apierrors.NewNotFound(rbacv1.Resource("roles"), ref.Name)
	}
	return h.role, nil
}

// That the guard decides well is tested with it; here, that it is asked.
func TestEscalation(t *testing.T) {
	read := []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}}}
	meta := metav1.ObjectMeta{Namespace: "x", Name: "role"}
	role, clusterRole := &rbacv1.Role{ObjectMeta: meta, Rules: read}, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: read}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "role"}
	binding, clusterBinding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref}, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref}
	resources := map[string]runtime.Object{"roles": role, "clusterroles": clusterRole, "rolebindings": binding, "clusterrolebindings": clusterBinding}
	empty := map[string]runtime.Object{
		"roles": &rbacv1.Role{ObjectMeta: meta}, "clusterroles": &rbacv1.ClusterRole{ObjectMeta: meta},
		"rolebindings":        &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Name: "other"}},
		"clusterrolebindings": &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Name: "other"}},
	}
	guard := func(own []rbacv1.PolicyRule, g ...string) ours.Escalation {
		return ours.Escalation{Guard: &escalation.Guard{Authorizer: grants(g), Policy: has{own, read}}}
	}
	for resource, obj := range resources {
		create := write{kind: rbacv1.SchemeGroupVersion.WithKind("K"), namespace: "x", name: "role", resource: resource, op: admission.Create, obj: obj}
		update, same := create, create
		update.op, update.old = admission.Update, empty[resource]
		same.op, same.old = admission.Update, obj
		put := create
		put.nameInPath = "role"
		const refusal = "attempting to grant RBAC permissions not currently held"
		verb := "escalate " + resource + " role"
		if strings.HasSuffix(resource, "bindings") {
			verb = "bind roles role"
		}
		for _, tt := range []struct {
			name string
			write
			p    ours.Escalation
			want string
		}{
			{"create", create, guard(nil), refusal},
			{"update", update, guard(nil), refusal},
			{"update that changes nothing", same, guard(nil), ""},
			{"create of what one has", create, guard(read), ""},
			{"update to what one has", update, guard(read), ""},
			{"create by PUT with the verb", put, guard(nil, verb), ""},
		} {
			t.Run(resource+" "+tt.name, func(t *testing.T) { expect(t, tt.judge(t, tt.p), 403, tt.want) })
		}
		if !strings.HasSuffix(resource, "bindings") {
			t.Run(resource+" create by POST with the verb for the name", func(t *testing.T) {
				expect(t, create.judge(t, guard(nil, verb)), 403, refusal)
			})
		}
		nobody := create
		nobody.anotherKindOfCaller = true
		t.Run(resource+" by nobody", func(t *testing.T) { expect(t, nobody.judge(t, guard(read)), 500, "without an authenticated caller") })
		wrong := create
		wrong.obj = &corev1.Pod{}
		t.Run(resource+" of another type", func(t *testing.T) {
			expect(t, wrong.judge(t, guard(read)), 500, "neither a role nor a binding")
		})
		for _, op := range []admission.Operation{admission.Delete, admission.Connect} {
			gone := create
			gone.op = op
			t.Run(resource+" "+string(op), func(t *testing.T) { expect(t, gone.judge(t, guard(nil)), 0, "") })
		}
	}
	other := write{kind: corev1.SchemeGroupVersion.WithKind("Pod"), resource: "pods", op: admission.Create, obj: &corev1.Pod{}}
	expect(t, other.judge(t, guard(nil)), 0, "")
}

// Every plugin of a chain is asked, in order, until one refuses.
func TestChain(t *testing.T) {
	var asked []string
	chain := ours.Chain{fake{"a", true, nil, &asked}, fake{"b", false, errors.New("never"), &asked}, fake{"c", true, errors.New("c says no"), &asked}, fake{"d", true, nil, &asked}}
	w := write{kind: corev1.SchemeGroupVersion.WithKind("Pod"), resource: "pods", op: admission.Create}
	if err := chain.Validate(t.Context(), w.attributes(), nil); err == nil || err.Error() != "c says no" || !slices.Equal(asked, []string{"a", "c"}) {
		t.Errorf("got %v after %q", err, asked)
	}
	for _, op := range []admission.Operation{admission.Create, admission.Update, admission.Delete, admission.Connect} {
		if !chain.Handles(op) {
			t.Errorf("the chain is not asked about %s", op)
		}
	}
	if err := (ours.Chain{}).Validate(t.Context(), w.attributes(), nil); err != nil {
		t.Errorf("an empty chain: %v", err)
	}
}

type fake struct {
	name    string
	handles bool
	err     error
	asked   *[]string
}

func (f fake) Handles(admission.Attributes) bool { return f.handles }
func (f fake) Judge(context.Context, admission.Attributes) error {
	*f.asked = append(*f.asked, f.name)
	return f.err
}
