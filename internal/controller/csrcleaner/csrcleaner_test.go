package csrcleaner_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/csrcleaner"
)

type signingRequest = certificatesv1.CertificateSigningRequest

// certificate returns one that ends in so long.
func certificate(t *testing.T, in time.Duration) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(in)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore[*signingRequest]("certificatesigningrequests")
		add := func(name string, certificate []byte, conditions ...certificatesv1.RequestConditionType) {
			t.Helper()
			r := &signingRequest{ObjectMeta: metav1.ObjectMeta{Name: name}}
			r.Status.Certificate = certificate
			for _, c := range conditions {
				r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: "True", LastUpdateTime: metav1.Now()})
			}
			if _, err := store.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		const approved, denied, failed = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
		add("1-ended", certificate(t, time.Minute), approved)
		add("2-issued", certificate(t, 240*time.Hour), approved)
		add("3-denied", nil, denied)
		add("4-failed", nil, approved, failed)
		add("5-pending", nil)
		add("6-unsigned", nil, approved)
		add("8-other-condition", nil, "Seen")
		add("9-unreadable", []byte("x"), approved)
		c := &csrcleaner.Controller{Requests: store.Informer(), Store: store, Log: controllertest.Log(t)}
		controllertest.Start(t, []cache.SharedIndexInformer{c.Requests}, c.Run)
		left := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			all, err := store.List(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range all {
				got = append(got, r.Name[:1])
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q are left, want %q", when, got, want)
			}
		}
		left("at the start", "1", "2", "3", "4", "5", "6", "8", "9")
		time.Sleep(time.Hour)
		// It is no more than an hour since they were decided about.
		left("after an hour", "2", "3", "4", "5", "6", "8", "9")
		time.Sleep(time.Hour)
		left("after two hours", "5", "6", "8", "9")
		time.Sleep(22 * time.Hour)
		left("after a day", "5", "6", "8", "9")
		time.Sleep(time.Hour)
		left("after 25 hours", "8", "9")
	})
}
