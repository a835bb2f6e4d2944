package csrapproving_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/csrapproving"
)

type signingRequest = certificatesv1.CertificateSigningRequest

const kubelet = certificatesv1.KubeAPIServerClientKubeletSignerName

// permissions are what may be done, as "user verb subresource", or an error.
type permissions struct {
	list atomic.Pointer[[]string]
	asks atomic.Int32
}

func (p *permissions) set(list ...string) { p.list.Store(&list) }

func (p *permissions) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	p.asks.Add(1)
	for _, one := range *p.list.Load() {
		if one == "error" {
			return authz.Answer{}, errors.New("the store is away")
		}
		if one == a.User.Name+" "+a.Verb+" "+a.APIGroup+" "+a.Resource+"/"+a.Subresource && len(a.User.Groups) == 1 && a.User.UID == "u" && len(a.User.Extra["k"]) == 1 {
			return authz.Answer{Verdict: authz.Allow}, nil
		}
	}
	return authz.Answer{}, nil
}

func request(t *testing.T, name, user, commonName string, conditions ...certificatesv1.RequestConditionType) *signingRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName, Organization: []string{"system:nodes"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &signingRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: kubelet,
			Usages:   []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
			Username: user, UID: "u", Groups: []string{"g"}, Extra: map[string]certificatesv1.ExtraValue{"k": {"v"}},
		},
	}
	for _, c := range conditions {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: "True"})
	}
	return r
}

func start(t *testing.T, store *controllertest.Store[*signingRequest], p *permissions) {
	c := &csrapproving.Controller{
		Requests: store.Informer(), Approval: store, Recognizers: csrapproving.Kubelets(p), Log: controllertest.Log(t),
		Judge: func(*identity.Identity) error { return nil },
	}
	controllertest.Start(t, []cache.SharedIndexInformer{c.Requests}, c.Run)
}

func TestKubelets(t *testing.T) {
	const (
		self         = " create certificates.k8s.io certificatesigningrequests/selfnodeclient"
		any          = " create certificates.k8s.io certificatesigningrequests/nodeclient"
		node         = "system:node:n1"
		selfApproved = "Auto approving self kubelet client certificate after SubjectAccessReview."
		approved     = "Auto approving kubelet client certificate after SubjectAccessReview."
	)
	for _, tt := range []struct {
		name        string
		permissions []string
		user, cn    string
		change      func(*signingRequest)
		want        string // of the message
	}{
		{"a machine that joins", []string{"system:bootstrap:abcdef" + any}, "system:bootstrap:abcdef", node, nil, approved},
		{"a node for itself", []string{node + self}, node, node, nil, selfApproved},
		{"a node that may for every node", []string{node + any}, node, node, nil, approved},
		{"a node that may do both", []string{node + any, node + self}, node, node, nil, selfApproved},
		{"nobody may", nil, node, node, nil, ""},
		{"a node for another", []string{node + self}, node, "system:node:n2", nil, ""},
		{"another user may", []string{"somebody" + any}, node, node, nil, ""},
		{"the permission cannot be looked up", []string{"error"}, node, node, nil, ""},
		{"no node", []string{"jane" + any, "jane" + self}, "jane", "jane", nil, ""},
		{"another signer", []string{node + any}, node, node, func(r *signingRequest) { r.Spec.SignerName = certificatesv1.KubeAPIServerClientSignerName }, ""},
		{"serving", []string{node + any}, node, node, func(r *signingRequest) { r.Spec.SignerName = certificatesv1.KubeletServingSignerName }, ""},
		{"other usages", []string{node + any}, node, node, func(r *signingRequest) { r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageServerAuth) }, ""},
		{"unreadable", []string{node + any}, node, node, func(r *signingRequest) { r.Spec.Request = []byte("hunter2") }, ""},
		{"denied", []string{node + any}, node, node, func(r *signingRequest) {
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		}, ""},
		{"issued", []string{node + any}, node, node, func(r *signingRequest) { r.Status.Certificate = []byte("x") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, p := controllertest.NewStore[*signingRequest]("certificatesigningrequests"), &permissions{}
				p.set(tt.permissions...)
				r := request(t, "r", tt.user, tt.cn)
				if tt.change != nil {
					tt.change(r)
				}
				if _, err := store.Create(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				start(t, store, p)
				got, err := store.Get(t.Context(), "", "r")
				if err != nil {
					t.Fatal(err)
				}
				message := ""
				for _, c := range got.Status.Conditions {
					if c.Type == certificatesv1.CertificateApproved && c.Reason == "AutoApproved" && c.Status == "True" {
						message = c.Message
					}
				}
				if message != tt.want {
					t.Errorf("approved with %q, want %q", message, tt.want)
				}
			})
		})
	}
}

// A permission that comes later counts, and a denial at the last moment does.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, p := controllertest.NewStore[*signingRequest]("certificatesigningrequests"), &permissions{}
		p.set()
		for _, name := range []string{"a", "denied"} {
			if _, err := store.Create(t.Context(), request(t, name, "m", "system:node:n1")); err != nil {
				t.Fatal(err)
			}
		}
		start(t, store, p)
		denied, err := store.Get(t.Context(), "", "denied")
		if err != nil {
			t.Fatal(err)
		}
		denied.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: "True"}}
		if _, err := store.Update(t.Context(), denied); err != nil {
			t.Fatal(err)
		}
		p.set("m create certificates.k8s.io certificatesigningrequests/nodeclient")
		time.Sleep(time.Minute)
		synctest.Wait()
		var verdicts []string
		for _, name := range []string{"a", "denied"} {
			r, err := store.Get(t.Context(), "", name)
			if err != nil || len(r.Status.Conditions) != 1 {
				t.Fatalf("%s: %v, %v", name, r, err)
			}
			verdicts = append(verdicts, string(r.Status.Conditions[0].Type))
		}
		if got := strings.Join(verdicts, " "); got != "Approved Denied" {
			t.Errorf("verdicts %s", got)
		}
	})
}
