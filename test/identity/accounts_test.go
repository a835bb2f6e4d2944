package identity_test

import (
	"encoding/base64"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/test/env"
)

// paths of objects of the namespace ns.
func inNamespace(ns, resource string) string { return "/api/v1/namespaces/" + ns + "/" + resource }

func (w *world) namespace(name string) {
	w.t.Helper()
	w.admin.must("POST", "/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil)
}

func (w *world) account(ns, name string) types.UID {
	w.t.Helper()
	var made corev1.ServiceAccount
	w.admin.must("POST", inNamespace(ns, "serviceaccounts"), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, &made)
	return made.UID
}

// pod makes a pod of an account, on a node unless that is empty.
func (w *world) pod(ns, name, account, node string, finalizers ...string) types.UID {
	w.t.Helper()
	var made corev1.Pod
	w.admin.must("POST", inNamespace(ns, "pods"), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers},
		Spec:       corev1.PodSpec{ServiceAccountName: account, NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, &made)
	return made.UID
}

func (w *world) node(name string) types.UID {
	w.t.Helper()
	var made corev1.Node
	w.admin.must("POST", "/api/v1/nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, &made)
	return made.UID
}

func (w *world) secret(ns, name string) types.UID {
	w.t.Helper()
	var made corev1.Secret
	w.admin.must("POST", inNamespace(ns, "secrets"), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, &made)
	return made.UID
}

// token asks for a token of an account that is bound to an object, or to none.
func (w *world) token(ns, account, kind, name string) string {
	w.t.Helper()
	request := &authenticationv1.TokenRequest{}
	if kind != "" {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}
	}
	w.admin.must("POST", inNamespace(ns, "serviceaccounts/"+account+"/token"), request, request)
	if request.Status.Token == "" {
		w.t.Fatal("the answer has no token")
	}
	return request.Status.Token
}

// legacyToken makes a Secret of an account, and returns the token that the
// server puts into it.
func (w *world) legacyToken(ns, name, account string) string {
	w.t.Helper()
	w.admin.must("POST", inNamespace(ns, "secrets"), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, nil)
	var filled corev1.Secret
	env.Eventually(w.t, fmt.Sprintf("filling secret %s", name), func() bool {
		w.admin.must("GET", inNamespace(ns, "secrets/"+name), nil, &filled)
		return len(filled.Data[corev1.ServiceAccountTokenKey]) > 0
	})
	return string(filled.Data[corev1.ServiceAccountTokenKey])
}

// badBootstrapToken makes a bootstrap token whose Secret says something else
// under one key from then on.
func (w *world) badBootstrapToken(id, key, value string) string {
	w.t.Helper()
	const secret = "0123456789abcdef"
	token := w.bootstrapToken(id, secret)
	data := base64.StdEncoding.EncodeToString([]byte(value))
	w.admin.must("PATCH", inNamespace("kube-system", "secrets/bootstrap-token-"+id), `{"data":{"`+key+`":"`+data+`"}}`, nil)
	return token
}

// bootstrapToken makes a bootstrap token that lets in and signs, and waits until
// the server has heard of it.
func (w *world) bootstrapToken(id, secret string) string {
	w.t.Helper()
	w.admin.must("POST", inNamespace("kube-system", "secrets"), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id},
		Type:       corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": id, "token-secret": secret,
			"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		},
	}, nil)
	token := id + "." + secret
	env.Eventually(w.t, "accepting a bootstrap token", func() bool { return w.admin.review(token).Authenticated })
	return token
}
