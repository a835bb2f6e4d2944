package identity_test

import (
	"crypto/x509/pkix"
	"net/http"
	"reflect"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/test/authority"
)

type extra = map[string]authenticationv1.ExtraValue

// issuer is that of gatehouse up, and what a server calls itself without
// --api-audiences.
const issuer = "https://kubernetes.default.svc.cluster.local"

// accountOf is what the server says of a service account.
func accountOf(ns, name, uid string, more extra) authenticationv1.UserInfo {
	return authenticationv1.UserInfo{
		Username: "system:serviceaccount:" + ns + ":" + name, UID: uid,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"},
		Extra:  more,
	}
}

// Everybody is who kube-apiserver says they are.
func TestWhoAmI(t *testing.T) {
	ca := authority.New(t, "clients")
	w := start(t, map[string]string{
		"ca.pem":     ca.PEM(),
		"tokens.csv": "joes-t0ken,joe,uid-7,\"dev,ops\"\nanns-t0ken,ann,uid-8\n",
	})
	w.admin.must("POST", rbac+"clusterrolebindings", &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "strangers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:basic-user"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:unauthenticated"}},
	}, nil)
	w.namespace("x")
	account, node := string(w.account("x", "sa")), string(w.node("n"))
	pod, placed := string(w.pod("x", "p", "sa", "")), string(w.pod("x", "placed", "sa", "n"))
	w.secret("x", "s")
	jane := ca.Sign(t, pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}}, nil)
	withUID := ca.Sign(t, pkix.Name{CommonName: "eve", ExtraNames: []pkix.AttributeTypeAndValue{kubernetesUID("u-1")}}, nil)
	masters := ca.Sign(t, pkix.Name{CommonName: "root", Organization: []string{"system:masters"}}, nil)

	bound := func(kind, name string, more extra) (credential, authenticationv1.UserInfo) {
		token := w.token("x", "sa", kind, name)
		all := extra{"authentication.kubernetes.io/credential-id": {"JTI=" + claims(t, token)["jti"].(string)}}
		for key, values := range more {
			all[key] = values
		}
		return credential{token: token}, accountOf("x", "sa", account, all)
	}
	type person struct {
		name string
		credential
		want authenticationv1.UserInfo
	}
	people := []person{
		{"certificate", credential{cert: jane}, authenticationv1.UserInfo{
			Username: "jane", Groups: []string{"dev", "ops", "system:authenticated"},
			Extra: extra{"authentication.kubernetes.io/credential-id": {credentialID(jane)}},
		}},
		{"certificate with a UID", credential{cert: withUID}, authenticationv1.UserInfo{
			Username: "eve", UID: "u-1", Groups: []string{"system:authenticated"},
			Extra: extra{"authentication.kubernetes.io/credential-id": {credentialID(withUID)}},
		}},
		{"certificate of a master", credential{cert: masters}, authenticationv1.UserInfo{
			Username: "root", Groups: []string{"system:masters", "system:authenticated"},
			Extra: extra{"authentication.kubernetes.io/credential-id": {credentialID(masters)}},
		}},
		{"token of the file", credential{token: "joes-t0ken"}, authenticationv1.UserInfo{
			Username: "joe", UID: "uid-7", Groups: []string{"dev", "ops", "system:authenticated"},
		}},
		{"token of the file without groups", credential{token: "anns-t0ken"}, authenticationv1.UserInfo{
			Username: "ann", UID: "uid-8", Groups: []string{"system:authenticated"},
		}},
		{"legacy token", credential{token: w.legacyToken("x", "legacy", "sa")}, accountOf("x", "sa", account, nil)},
		{"nobody", credential{}, authenticationv1.UserInfo{Username: "system:anonymous", Groups: []string{"system:unauthenticated"}}},
	}
	add := func(name, kind, of string, more extra) {
		c, want := bound(kind, of, more)
		people = append(people, person{name, c, want})
	}
	add("token of the account", "", "", nil)
	add("token bound to a Secret", "Secret", "s", nil)
	add("token bound to a Pod", "Pod", "p", extra{
		"authentication.kubernetes.io/pod-name": {"p"}, "authentication.kubernetes.io/pod-uid": {pod},
	})
	add("token bound to a Pod on a node", "Pod", "placed", extra{
		"authentication.kubernetes.io/pod-name": {"placed"}, "authentication.kubernetes.io/pod-uid": {placed},
		"authentication.kubernetes.io/node-name": {"n"}, "authentication.kubernetes.io/node-uid": {node},
	})
	add("token bound to a Node", "Node", "n", extra{
		"authentication.kubernetes.io/node-name": {"n"}, "authentication.kubernetes.io/node-uid": {node},
	})

	for _, p := range people {
		t.Run(p.name, func(t *testing.T) {
			for _, http1 := range []bool{false, true} {
				c := p.credential
				c.http1 = http1
				who := w.as(c)
				// Twice: the second time it may be remembered.
				for range 2 {
					got, a := who.whoami()
					if a.code != http.StatusCreated || !reflect.DeepEqual(got, p.want) || a.proto != map[bool]int{true: 1, false: 2}[http1] {
						t.Errorf("HTTP/%d: %d %s\ngot  %+v\nwant %+v", a.proto, a.code, a.body, got, p.want)
					}
				}
			}
			if p.token == "" {
				return
			}
			for _, audiences := range [][]string{nil, {issuer}, {"other", issuer}} {
				got := w.admin.review(p.token, audiences...)
				if !got.Authenticated || got.Error != "" || !reflect.DeepEqual(got.User, p.want) || !reflect.DeepEqual(got.Audiences, []string{issuer}) {
					t.Errorf("TokenReview for %q: %+v, want %+v", audiences, got, p.want)
				}
			}
			if got := w.admin.review(p.token, "other"); got.Authenticated || got.User.Username != "" || got.Error == "" {
				t.Errorf("TokenReview for another audience: %+v", got)
			}
		})
	}
}
