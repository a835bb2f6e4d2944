package revokedcertificates_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/revokedcertificates"
	"gatehouse.dev/gatehouse/internal/crl"
)

type spec = v1alpha1.RevocationSpec

func named(c v1alpha1.RevokedCertificate) *v1alpha1.RevokedCertificate { return &c }

// A list notes what it was to keep last.
type list struct {
	mu   sync.Mutex
	kept string
	fail error
	runs int
}

func (l *list) Keep(_ context.Context, revoked []crl.Revoked, now time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs++
	if l.fail != nil {
		return false, l.fail
	}
	var all []string
	for _, r := range revoked {
		if r.Ends.IsZero() || r.Ends.After(now) {
			all = append(all, fmt.Sprintf("%s:%d", r.Serial, r.Reason))
		}
	}
	slices.Sort(all)
	l.kept = strings.Join(all, " ")
	return true, nil
}

func (l *list) state() (string, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept, l.runs
}

// Every Revocation of a certificate of ours is on the list of its authority, and
// on no other.
func TestLists(t *testing.T) { synctest.Test(t, lists) }

func lists(t *testing.T) {
	one, two := &list{}, &list{}
	store := controllertest.NewStore[*v1alpha1.Revocation]("revocations")
	informer := store.Informer()
	digest := func(c string) string { return strings.Repeat(c, 64) }
	c := &revokedcertificates.Controller{
		Revocations: informer, Log: controllertest.Log(t),
		Authorities: []revokedcertificates.Authority{
			{Issuer: "X509SHA256=1", Subject: "CN=one,O=example", List: one}, {Issuer: "X509SHA256=2", Subject: "CN=two", List: two},
		},
		Find: func(_ context.Context, named *spec) (*revokedcertificates.Certificate, error) {
			switch c := named.Certificate; {
			case c.TBSSHA256 == digest("a"):
				return &revokedcertificates.Certificate{Issuer: "X509SHA256=2", Serial: "aa", Ends: time.Now().Add(time.Hour)}, nil
			case c.TBSSHA256 == digest("b"):
				return &revokedcertificates.Certificate{Issuer: "X509SHA256=3", Serial: "bb", Ends: time.Now().Add(time.Hour)}, nil
			case c.SerialNumber == "7":
				return &revokedcertificates.Certificate{Issuer: "X509SHA256=1", Serial: "7", Ends: time.Now().Add(time.Hour)}, nil
			}
			return nil, nil
		},
	}
	c.Chain = func(_ context.Context, chain string) ([]revokedcertificates.Certificate, error) {
		if chain != "7b" {
			return nil, nil
		}
		end := time.Now().Add(time.Hour)
		return []revokedcertificates.Certificate{
			{Issuer: "X509SHA256=1", Serial: "7b01", Ends: end}, {Issuer: "X509SHA256=1", Serial: "7b02", Ends: end}, {Issuer: "X509SHA256=2", Serial: "7b03", Ends: end},
			{Issuer: "X509SHA256=3", Serial: "7b04", Ends: end}, {Issuer: "X509SHA256=1", Serial: "-1", Ends: end},
		}, nil
	}
	controllertest.Start(t, []cache.SharedIndexInformer{informer}, c.Run)
	for i, s := range []spec{
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=one,O=example", SerialNumber: "1"}), Reason: v1alpha1.ReasonKeyCompromise},
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=one,O=example", SerialNumber: "2"}), Reason: v1alpha1.ReasonCertificateHold},
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=two", SerialNumber: "2"})},
		{Certificate: named(v1alpha1.RevokedCertificate{TBSSHA256: digest("a")}), Reason: v1alpha1.ReasonSuperseded},
		{Certificate: named(v1alpha1.RevokedCertificate{TBSSHA256: digest("b")})},                                                // of another CA
		{Certificate: named(v1alpha1.RevokedCertificate{TBSSHA256: digest("c")})},                                                // unknown
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=three", SerialNumber: "3"})},                                 // of another CA
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "O=example,CN=one", SerialNumber: "4"})},                         // of another name
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=one,O=example", SerialNumber: "5", TBSSHA256: digest("a")})}, // the digest says whose it is
		// The register knows when it ends, and somebody else says that it has.
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=one,O=example", SerialNumber: "7"}), CredentialExpiresAt: &metav1.Time{Time: time.Now().Add(-time.Hour)}},
		// With all that was renewed from it, also by another CA since.
		{Certificate: named(v1alpha1.RevokedCertificate{Issuer: "CN=one,O=example", SerialNumber: "7b01", Chain: "7b"}), Reason: v1alpha1.ReasonKeyCompromise},
		{User: "jane"}, {Issuer: "X509SHA256=1"}, {Key: &v1alpha1.RevokedKey{ID: "k"}}, {Group: "dev"},
	} {
		if _, err := store.Create(t.Context(), &v1alpha1.Revocation{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("r-%d", i), CreationTimestamp: metav1.Now()}, Spec: s,
		}); err != nil {
			t.Fatal(err)
		}
	}
	becomes(t, one, "1:1 2:6 31489:1 31489:1 31490:1 7:0")
	becomes(t, two, "170:0 170:4 2:0 31491:1")
	for i := range 4 {
		if err := store.Delete(t.Context(), "", fmt.Sprintf("r-%d", i), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	becomes(t, one, "31489:1 31489:1 31490:1 7:0")
	becomes(t, two, "170:0 31491:1")
	// A list that gets old is looked at, and a failure is tried again.
	_, before := one.state()
	time.Sleep(11 * time.Minute)
	if _, after := one.state(); after == before {
		t.Error("nothing looks whether a list gets old")
	}
	two.mu.Lock()
	two.fail = errors.New("no store")
	two.mu.Unlock()
	_, before = two.state()
	time.Sleep(11 * time.Minute)
	if _, after := two.state(); after < before+3 {
		t.Errorf("tried %d times", after-before)
	}
}

// becomes shows that a list has been kept with certain entries.
func becomes(t *testing.T, l *list, want string) {
	t.Helper()
	synctest.Wait()
	if got, _ := l.state(); got != want {
		t.Errorf("the list has %q, want %q", got, want)
	}
}
