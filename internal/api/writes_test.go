package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/api"
)

const (
	jsonType  = "application/json"
	mergeType = "application/merge-patch+json"
	applyType = "application/apply-patch+yaml"
)

// allowing is an authorizer of the verbs in it.
type allowing []string

func (v allowing) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	if slices.Contains(v, a.Verb+" "+a.Resource+" "+a.Namespace+"/"+a.Name) {
		return authz.Answer{Verdict: authz.Allow}, nil
	}
	return authz.Answer{}, nil
}

// Whoever may update or patch what is not there needs the permission to create
// it, which the front door has not asked for.
func TestCreatingByAnotherVerb(t *testing.T) {
	_, h := start(t, func(c *api.Config) {
		c.Authorizer = allowing{"create roles x/may", "create configmaps x/may"}
	})
	expect(t, do(t, h, "POST", "/api/v1/namespaces", jsonType, `{"metadata":{"name":"x"}}`), 201, "")
	const roles, maps = "/apis/rbac.authorization.k8s.io/v1/namespaces/x/roles/", "/api/v1/namespaces/x/configmaps/"
	for _, tt := range []struct {
		name, method, path, contentType, body string
		code                                  int
		want                                  string
	}{
		{"update", "PUT", roles + "may", jsonType, `{"metadata":{"name":"may"}}`, 201, `"name":"may"`},
		{"update of what is there", "PUT", roles + "may", jsonType, `{"metadata":{"name":"may"}}`, 200, `"name":"may"`},
		{"forbidden update", "PUT", roles + "maynot", jsonType, `{"metadata":{"name":"maynot"}}`, 403,
			`User \"tester\" cannot create resource \"roles\" in API group \"rbac.authorization.k8s.io\" in the namespace \"x\"`},
		{"apply", "PATCH", maps + "may?fieldManager=t", applyType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"may"}}`, 201, `"name":"may"`},
		{"forbidden apply", "PATCH", maps + "maynot?fieldManager=t", applyType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"maynot"}}`, 403,
			`cannot create resource \"configmaps\"`},
		{"update of a kind that it does not create", "PUT", maps + "other", jsonType, `{"metadata":{"name":"other"}}`, 404, "NotFound"},
		{"merge patch does not create", "PATCH", maps + "other", mergeType, `{}`, 404, "NotFound"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, do(t, h, tt.method, tt.path, tt.contentType, tt.body), tt.code, tt.want)
		})
	}
}

// A namespace outlives every write to it until its contents are gone: only
// /finalize ends it.
func TestDeletedNamespaceWaits(t *testing.T) {
	_, h := start(t, nil)
	const ns = "/api/v1/namespaces/x"
	expect(t, do(t, h, "POST", "/api/v1/namespaces", jsonType, `{"metadata":{"name":"x"}}`), 201, "")
	expect(t, do(t, h, "DELETE", ns, "", ""), 200, `"phase":"Terminating"`)
	expect(t, do(t, h, "PATCH", ns+"/status", mergeType, `{"status":{"conditions":[{"type":"A","status":"True"}]}}`), 200, `"type":"A"`)
	expect(t, do(t, h, "PATCH", ns, mergeType, `{"metadata":{"labels":{"a":"b"}}}`), 200, `"a":"b"`)
	expect(t, do(t, h, "PATCH", ns, mergeType, `{"spec":{"finalizers":[]}}`), 200, `"finalizers":["kubernetes"]`)
	expect(t, do(t, h, "PATCH", ns+"/status", mergeType, `{"spec":{"finalizers":[]}}`), 200, `"finalizers":["kubernetes"]`)
	expect(t, do(t, h, "DELETE", ns, "", ""), 200, `"phase":"Terminating"`)
	expect(t, do(t, h, "GET", ns, "", ""), 200, `"phase":"Terminating"`)
	expect(t, do(t, h, "PUT", ns+"/finalize", jsonType, `{"metadata":{"name":"x"},"spec":{"finalizers":[]}}`), 200, "")
	expect(t, do(t, h, "GET", ns, "", ""), 404, "NotFound")
}

// What of an object a write of one of its parts may change.
func TestPartsAreApart(t *testing.T) {
	_, h := start(t, nil)
	expect(t, do(t, h, "POST", "/api/v1/namespaces", jsonType, `{"metadata":{"name":"x"}}`), 201, "")
	expect(t, do(t, h, "POST", "/api/v1/namespaces/x/pods", jsonType,
		`{"metadata":{"name":"p"},"spec":{"serviceAccountName":"sa","containers":[{"name":"c","image":"i"}]}}`), 201, "")
	const pod = "/api/v1/namespaces/x/pods/p"
	for _, tt := range []struct {
		name, path, patch string
		want, not         string
	}{
		{"status through the object", pod, `{"status":{"phase":"Running"}}`, `"phase":"Pending"`, "Running"},
		{"status", pod + "/status", `{"status":{"phase":"Running"}}`, `"phase":"Running"`, "Pending"},
		{"account through status", pod + "/status", `{"spec":{"serviceAccountName":"other"}}`, `"serviceAccountName":"sa"`, "other"},
		{"owners through status", pod + "/status", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"o","uid":"u"}]}}`, "", "ownerReferences"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, do(t, h, "PATCH", tt.path, mergeType, tt.patch), 200, tt.want)
			if w := do(t, h, "GET", pod, "", ""); strings.Contains(w.Body.String(), tt.not) {
				t.Errorf("%q is in %s", tt.not, w.Body)
			}
		})
	}
}

// Approving, signing and asking are three permissions, and none does the work
// of another.
func TestSigningRequestParts(t *testing.T) {
	_, h := start(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "jane"}
	asked, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	const all = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	certificate := `{"status":{"certificate":"` + b64("CERTIFICATE", signed) + `"}}`
	expect(t, do(t, h, "POST", all, jsonType, `{"metadata":{"name":"r"},"spec":{"signerName":"example.org/s","usages":["client auth"],`+
		`"username":"root","groups":["system:masters"],"request":"`+b64("CERTIFICATE REQUEST", asked)+`"},"status":{"conditions":[{"type":"Approved","status":"True"}]}}`),
		201, `"username":"tester"`)
	for _, tt := range []struct {
		name, part, patch string
		code              int
		want, not         string // of what is stored then
	}{
		{"approve when asking", "", `{}`, 200, `"status":{}`, "system:masters"},
		{"approve the object", "", `{"status":{"conditions":[{"type":"Approved","status":"True"}]}}`, 200, `"status":{}`, "Approved"},
		{"become another requester", "", `{"spec":{"username":"root"}}`, 200, `"username":"tester"`, "root"},
		{"approve through status", "/status", `{"status":{"conditions":[{"type":"Approved","status":"True"}]}}`, 422, `"status":{}`, "Approved"},
		{"sign through approval", "/approval", certificate, 200, `"status":{}`, `"certificate":`},
		{"become another requester through approval", "/approval", `{"spec":{"username":"root"}}`, 200, `"username":"tester"`, "root"},
		{"approve", "/approval", `{"status":{"conditions":[{"type":"Approved","status":"True","reason":"because"}]}}`, 200, `"reason":"because"`, `"certificate":`},
		{"take the approval back through status", "/status", `{"status":{"conditions":null}}`, 422, `"reason":"because"`, `"certificate":`},
		{"take the approval back", "/approval", `{"status":{"conditions":null}}`, 422, `"reason":"because"`, `"certificate":`},
		{"reword the approval through status", "/status", `{"status":{"conditions":[{"type":"Approved","status":"True","reason":"other"}]}}`, 200, `"reason":"because"`, "other"},
		{"sign", "/status", certificate, 200, `"certificate":`, "other"},
		{"sign again", "/status", `{"status":{"certificate":null}}`, 422, `"certificate":`, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, do(t, h, "PATCH", all+"/r"+tt.part, mergeType, tt.patch), tt.code, "")
			w := do(t, h, "GET", all+"/r", "", "")
			expect(t, w, 200, tt.want)
			object, _, _ := strings.Cut(w.Body.String(), `"managedFields"`)
			_, rest, _ := strings.Cut(w.Body.String(), `"spec"`)
			if strings.Contains(object+rest, tt.not) {
				t.Errorf("%q is in %s", tt.not, w.Body)
			}
		})
	}
}

func TestUpdateNeedsVersion(t *testing.T) {
	_, h := start(t, nil)
	expect(t, do(t, h, "POST", "/api/v1/namespaces", jsonType, `{"metadata":{"name":"x"}}`), 201, "")
	const leases = "/apis/coordination.k8s.io/v1/namespaces/x/leases"
	expect(t, do(t, h, "POST", leases, jsonType, `{"metadata":{"name":"l"}}`), 201, "")
	// Two leaders could each overwrite the other's lease.
	expect(t, do(t, h, "PUT", leases+"/l", jsonType, `{"metadata":{"name":"l"},"spec":{"holderIdentity":"me"}}`), 422, "metadata.resourceVersion")
	expect(t, do(t, h, "PATCH", leases+"/l", mergeType, `{"spec":{"holderIdentity":"me"}}`), 200, `"holderIdentity":"me"`)
}

// Changed is told of every way in which an object can go, before the answer, and
// of no rehearsal.
func TestChanged(t *testing.T) {
	var mu sync.Mutex
	var told []string
	a, h := start(t, func(c *api.Config) {
		c.Changed = func(resource string, obj metav1.Object) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, resource+" "+obj.GetNamespace()+"/"+obj.GetName())
		}
	})
	expect(t, do(t, h, "POST", "/api/v1/namespaces", jsonType, `{"metadata":{"name":"x"}}`), 201, "")
	const accounts = "/api/v1/namespaces/x/serviceaccounts"
	create := func(name, finalizers string) {
		expect(t, do(t, h, "POST", accounts, jsonType, `{"metadata":{"name":"`+name+`","finalizers":[`+finalizers+`]}}`), 201, "")
	}
	for _, tt := range []struct {
		name       string
		finalizers string
		write      func()
		want       []string
	}{
		{"delete", "", func() { expect(t, do(t, h, "DELETE", accounts+"/a", "", ""), 200, "") }, []string{"serviceaccounts x/a"}},
		{"collection", "", func() { expect(t, do(t, h, "DELETE", accounts, "", ""), 200, "") }, []string{"serviceaccounts x/a"}},
		{"from inside", "", func() {
			objects, err := api.ObjectsOf[*corev1.ServiceAccount](a, "", "serviceaccounts")
			if err != nil {
				t.Fatal(err)
			}
			if err := objects.Delete(t.Context(), "x", "a", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}, []string{"serviceaccounts x/a"}},
		{"update", "", func() {
			expect(t, do(t, h, "PATCH", accounts+"/a", mergeType, `{"metadata":{"labels":{"a":"b"}}}`), 200, "")
		}, []string{"serviceaccounts x/a"}},
		{"last finalizer", `"x.io/y"`, func() {
			expect(t, do(t, h, "DELETE", accounts+"/a", "", ""), 200, "deletionTimestamp")
			expect(t, do(t, h, "PATCH", accounts+"/a", mergeType, `{"metadata":{"finalizers":null}}`), 200, "")
			expect(t, do(t, h, "GET", accounts+"/a", "", ""), 404, "")
		}, []string{"serviceaccounts x/a"}},
		{"rehearsed delete", "", func() { expect(t, do(t, h, "DELETE", accounts+"/a?dryRun=All", "", ""), 200, "") }, nil},
		{"rehearsed collection", "", func() { expect(t, do(t, h, "DELETE", accounts+"?dryRun=All", "", ""), 200, "") }, nil},
		{"rehearsed update", "", func() {
			expect(t, do(t, h, "PATCH", accounts+"/a?dryRun=All", mergeType, `{"metadata":{"labels":{"a":"b"}}}`), 200, "")
		}, nil},
		{"refused delete", "", func() {
			expect(t, do(t, h, "DELETE", accounts+"/a", jsonType, `{"preconditions":{"uid":"other"}}`), 409, "")
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			create("a", tt.finalizers)
			told = nil
			tt.write()
			if !slices.Equal(told, tt.want) {
				t.Errorf("told of %q, want %q", told, tt.want)
			}
			do(t, h, "DELETE", accounts+"/a", "", "")
		})
	}
}
