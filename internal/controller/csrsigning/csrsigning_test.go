package csrsigning_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/csrsigning"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/signing"
)

type signingRequest = certificatesv1.CertificateSigningRequest

const (
	client   = certificatesv1.KubeAPIServerClientSignerName
	approved = certificatesv1.CertificateApproved
	denied   = certificatesv1.CertificateDenied
	failed   = certificatesv1.CertificateFailed
)

// A world is a store with a controller on it that signs client certificates.
type world struct {
	t     *testing.T
	store *controllertest.Store[*signingRequest]
	c     *csrsigning.Controller

	mu       sync.Mutex
	counts   map[string]int
	recorded []string
	// record and authority fail with these, and so does looking for a certificate
	// that is held, and for what was revoked.
	recording, signing, holding, following error
	// held are certificates by their digests, and revoked who is not let in, by the
	// ID of his credential. When it is known what was revoked, following is called.
	held    map[string]*signing.Held
	revoked map[string]bool
	follow  func()
	issued  []*csrsigning.Issued
	keys    map[string]claimed
}

// claimed is whose a key is, and until when.
type claimed struct {
	subject string
	until   time.Time
}

func (w *world) judge(who *identity.Identity) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revoked[who.Credential.ID] {
		return errors.New("revocation of " + who.Credential.ID)
	}
	return nil
}

func (w *world) claim(_ context.Context, key, subject string, until time.Time) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.keys[key]; ok && c.subject != subject && !time.Now().After(c.until) {
		return false, nil
	}
	w.keys[key] = claimed{subject, until}
	return true, nil
}

func bubble(t *testing.T, test func(w *world)) {
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "test")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		// The clock of a bubble begins in the past, before the authority.
		time.Sleep(time.Until(ca.Certificate().NotAfter.AddDate(-9, 0, 0)))
		w := &world{t: t, store: controllertest.NewStore[*signingRequest]("certificatesigningrequests"), counts: map[string]int{}, revoked: map[string]bool{}, keys: map[string]claimed{}}
		rules, _ := signing.KubernetesRules(client)
		w.c = &csrsigning.Controller{
			Requests: w.store.Informer(), Status: w.store, Log: controllertest.Log(t),
			Signers: []*signing.Signer{{
				Name: client, Lifetime: 24 * time.Hour, Renewable: 48 * time.Hour, Rules: rules,
				Authority: func() (signing.Authority, error) {
					w.mu.Lock()
					defer w.mu.Unlock()
					return ca, w.signing
				},
				Reserved: func() map[[sha256.Size]byte]string { return nil },
			}},
			Record: func(_ context.Context, issued *csrsigning.Issued) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.recorded = append(w.recorded, issued.Certificate.SerialNumber.String())
				w.issued = append(w.issued, issued)
				return w.recording
			},
			Held: func(_ context.Context, digest string) (*signing.Held, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.held[digest], w.holding
			},
			Judge: w.judge, Claim: w.claim,
			Follow: func(context.Context) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.follow != nil {
					w.follow()
				}
				return w.following
			},
			Count: func(_, result string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.counts[result]++
			},
		}
		test(w)
	})
}

func (w *world) start() {
	controllertest.Start(w.t, []cache.SharedIndexInformer{w.c.Requests}, w.c.Run)
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) ask(name, commonName string, key *ecdsa.PrivateKey, change func(*signingRequest), conditions ...certificatesv1.RequestConditionType) {
	w.t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &signingRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: client,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}
	for _, c := range conditions {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: "True"})
	}
	if change != nil {
		change(r)
	}
	if _, err := w.store.Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

// outcome is what became of a request: issued, the message of a failure, or
// nothing.
func (w *world) outcome(name string) (text string, cert *x509.Certificate) {
	w.t.Helper()
	synctest.Wait()
	r, err := w.store.Get(w.t.Context(), "", name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range r.Status.Conditions {
		if c.Type == failed {
			text = c.Reason + ": " + c.Message
		}
	}
	if block, _ := pem.Decode(r.Status.Certificate); block != nil {
		if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
			w.t.Fatal(err)
		}
		text = "issued"
	}
	return text, cert
}

func TestSigns(t *testing.T) {
	bubble(t, func(w *world) {
		w.ask("good", "jane", newKey(t), nil, approved)
		w.ask("pending", "jane", newKey(t), nil)
		w.ask("denied", "jane", newKey(t), nil, denied)
		w.ask("failed", "jane", newKey(t), nil, approved, failed)
		w.ask("approved-in-words", "jane", newKey(t), func(r *signingRequest) { r.Status.Conditions[0].Status = "False" }, approved)
		w.ask("another-signer", "jane", newKey(t), func(r *signingRequest) { r.Spec.SignerName = "example.com/x" }, approved)
		w.ask("refused", "jane", newKey(t), func(r *signingRequest) { r.Spec.Usages = []certificatesv1.KeyUsage{"server auth"} }, approved)
		w.ask("unreadable", "jane", newKey(t), func(r *signingRequest) { r.Spec.Request = nil }, approved)
		w.start()
		for name, want := range map[string]string{
			"good": "issued", "pending": "", "denied": "", "failed": ": ", "approved-in-words": "", "another-signer": "",
			"refused":    "SignerValidationFailure: invalid usage for client certificate: server auth",
			"unreadable": "SignerValidationFailure: PEM block type must be CERTIFICATE REQUEST",
		} {
			if got, _ := w.outcome(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if w.counts["issued"] != 1 || w.counts["refused"] != 2 || w.counts["error"] != 0 || len(w.recorded) != 1 {
			t.Errorf("counted %v, recorded %v", w.counts, w.recorded)
		}
	})
}

// What leaves has been recorded, and what cannot be recorded does not leave.
func TestRecordsFirst(t *testing.T) {
	bubble(t, func(w *world) {
		w.recording = errors.New("the register is away")
		w.ask("r", "jane", newKey(t), nil, approved)
		w.start()
		if got, _ := w.outcome("r"); got != "" {
			t.Fatalf("unrecorded: %s", got)
		}
		w.set(func() {
			if len(w.keys) > 0 {
				t.Error("a key belongs to somebody whose certificate is not handed out")
			}
		})
		w.set(func() { w.recording = nil })
		time.Sleep(time.Minute)
		got, cert := w.outcome("r")
		if got != "issued" || w.recorded[len(w.recorded)-1] != cert.SerialNumber.String() || w.counts["error"] == 0 {
			t.Errorf("%q, recorded %v, counted %v", got, w.recorded, w.counts)
		}
	})
}

// An authority that cannot be read now is tried again.
func TestAuthorityComesBack(t *testing.T) {
	bubble(t, func(w *world) {
		w.signing = errors.New("ca.key is not there")
		w.ask("r", "jane", newKey(t), nil, approved)
		w.start()
		if got, _ := w.outcome("r"); got != "" {
			t.Fatalf("without authority: %s", got)
		}
		w.set(func() { w.signing = nil })
		time.Sleep(time.Minute)
		if got, _ := w.outcome("r"); got != "issued" {
			t.Errorf("with authority: %q", got)
		}
	})
}

// A key is for one subject, as long as a certificate says so.
func TestReusedKey(t *testing.T) {
	bubble(t, func(w *world) {
		key := newKey(t)
		w.ask("first", "jane", key, nil, approved)
		w.start()
		if got, _ := w.outcome("first"); got != "issued" {
			t.Fatal(got)
		}
		w.ask("again", "jane", key, nil, approved)
		w.ask("other", "root", key, nil, approved)
		if got, _ := w.outcome("again"); got != "issued" {
			t.Errorf("the same subject: %q", got)
		}
		if got, _ := w.outcome("other"); got != "SignerValidationFailure: the key is already certified for another subject: make a new one" {
			t.Errorf("another subject: %q", got)
		}
		time.Sleep(25 * time.Hour)
		w.ask("later", "root", key, nil, approved)
		if got, _ := w.outcome("later"); got != "issued" {
			t.Errorf("when it has ended: %q", got)
		}
	})
}

// Of two requests for one key that are signed at once, one is.
func TestReusedKeyAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		key := newKey(t)
		for _, name := range []string{"jane", "joe", "root", "walter"} {
			w.ask(name, name, key, nil, approved)
		}
		w.start()
		issued := 0
		for _, name := range []string{"jane", "joe", "root", "walter"} {
			switch got, _ := w.outcome(name); got {
			case "issued":
				issued++
			case "SignerValidationFailure: the key is already certified for another subject: make a new one":
			default:
				t.Errorf("%s: %q", name, got)
			}
		}
		if issued != 1 {
			t.Errorf("the key is certified for %d subjects", issued)
		}
	})
}

// A request that somebody takes back while it is signed is not signed.
func TestWithdrawn(t *testing.T) {
	bubble(t, func(w *world) {
		w.ask("r", "jane", newKey(t), nil, approved)
		gone := false
		w.store.Before = func(verb, _, name string) error {
			if verb != "update" || gone {
				return nil
			}
			gone = true
			return w.store.Delete(context.Background(), "", name, metav1.DeleteOptions{})
		}
		w.start()
		synctest.Wait()
		if _, err := w.store.Get(t.Context(), "", "r"); err == nil || w.counts["issued"] != 0 || w.counts["error"] != 0 {
			t.Errorf("%v, counted %v", err, w.counts)
		}
	})
}
