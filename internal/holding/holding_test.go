package holding_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/holding"
)

type object = certificatesv1.CertificateSigningRequest

// A fake is a server with one request at a time, whose fate is decided by a
// test.
type fake struct {
	t       *testing.T
	objects map[string]*object
	creates int
	// decide changes a request before it is handed out. It may be nil.
	decide func(r *object) error
	away   int // so many answers are errors
}

var resource = schema.GroupResource{Resource: "certificatesigningrequests"}

func (f *fake) Create(_ context.Context, r *object) (*object, error) {
	f.creates++
	if f.objects[r.Name] != nil {
		return nil, apierrors.NewAlreadyExists(resource, r.Name)
	}
	f.objects[r.Name] = r.DeepCopy()
	return r, nil
}

func (f *fake) Get(_ context.Context, name string) (*object, error) {
	if f.away > 0 {
		f.away--
		return nil, errors.New("connection refused")
	}
	r := f.objects[name]
	if r == nil {
		return nil, apierrors.NewNotFound(resource, name)
	}
	if f.decide != nil {
		if err := f.decide(r); err != nil {
			return nil, err
		}
	}
	return r.DeepCopy(), nil
}

// sign returns what a CA says of a request, but for what change does.
func sign(t *testing.T, r *object, change func(c *x509.Certificate)) []byte {
	t.Helper()
	block, _ := pem.Decode(r.Spec.Request)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: asked.Subject, PublicKey: asked.PublicKey, NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}, template.PublicKey, ca)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func order() *holding.Order {
	return &holding.Order{
		Signer: "example.com/x", CommonName: "jane", Organizations: []string{"dev"}, Lifetime: time.Hour,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
	}
}

func condition(t certificatesv1.RequestConditionType, message string) func(*object) error {
	return func(r *object) error {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: t, Status: "True", Message: message}}
		return nil
	}
}

func quiet(string, time.Duration) {}

func TestObtain(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change func(*x509.Certificate)) func(*object) error {
		return func(r *object) error {
			r.Status.Certificate = sign(t, r, change)
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		decide func(r *object) error
		away   int
		want   string // of the error
		kept   bool   // the request is gone on with
	}{
		{"signed", signed(nil), 0, "", false},
		{"signed while the server is away", signed(nil), 3, "", false},
		{"denied", condition(certificatesv1.CertificateDenied, "not you"), 0, "the request was denied: not you", false},
		{"failed", condition(certificatesv1.CertificateFailed, "weak"), 0, "the signer does not sign the request: weak", false},
		{"deleted", func(r *object) error { return apierrors.NewNotFound(resource, r.Name) }, 0, "deleted before it was signed", false},
		{"unreadable", func(r *object) error { return apierrors.NewForbidden(resource, r.Name, errors.New("no")) }, 0, "forbidden", true},
		{"never decided about", nil, 0, "context deadline exceeded", true},
		{"another key", signed(func(c *x509.Certificate) { c.PublicKey = other.Public() }), 0, "a certificate for another key", false},
		{"another user", signed(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "root", Organization: []string{"dev"}} }), 0, "for another subject: CN=root", false},
		{"another group", signed(func(c *x509.Certificate) { c.Subject.Organization = []string{"dev", "ops"} }), 0, "for another subject", false},
		{"no certificate", func(r *object) error { r.Status.Certificate = []byte("x"); return nil }, 0, "no certificate in PEM form", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				f := &fake{t: t, objects: map[string]*object{}, decide: tt.decide, away: tt.away}
				file := filepath.Join(t.TempDir(), "pair.pem")
				h := &holding.Holder{Place: holding.Place{File: file}, Waiting: quiet}
				_, err := h.Obtain(ctx, f, order())
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				_, missing := os.Stat(file)
				_, forgotten := os.Stat(file + ".request")
				if (missing == nil) != (tt.want == "") || (forgotten == nil) != tt.kept {
					t.Errorf("the pair: %v, the request: %v", missing, forgotten)
				}
			})
		})
	}
}

// Who is interrupted goes on with the same request, and who wants something
// else does not.
func TestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, objects: map[string]*object{}}
		dir := t.TempDir()
		h := &holding.Holder{Place: holding.Place{Dir: dir}, Waiting: quiet}
		try := func(o *holding.Order) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := h.Obtain(ctx, f, o)
			return err
		}
		for range 2 {
			if try(order()) == nil {
				t.Fatal("there is a certificate that nobody has signed")
			}
		}
		if f.creates != 2 || len(f.objects) != 1 {
			t.Fatalf("%d creates, %d requests", f.creates, len(f.objects))
		}
		longer := order()
		longer.Lifetime = 2 * time.Hour
		if try(longer) == nil || len(f.objects) != 2 {
			t.Fatalf("a longer life: %d requests", len(f.objects))
		}
		f.decide = func(r *object) error { r.Status.Certificate = sign(t, r, nil); return nil }
		if err := try(longer); err != nil || len(f.objects) != 2 {
			t.Fatal(err)
		}
		pair, err := h.Place.Read()
		if err != nil || pair.Leaf.Subject.CommonName != "jane" {
			t.Fatalf("read %v, %v", pair, err)
		}
		info, err := os.Stat(filepath.Join(dir, "tls.key"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key: %v, %v", info, err)
		}
		if to, err := os.Readlink(filepath.Join(dir, "tls.crt")); err != nil || to != "..data/tls.crt" {
			t.Errorf("tls.crt is a link to %q, %v", to, err)
		}
	})
}

// A request that waits is not given up because somebody wants something else, and
// neither is what cannot be read in its place.
func TestOtherRequestWaits(t *testing.T) {
	change := func(do func(*holding.Order)) *holding.Order {
		o := order()
		do(o)
		return o
	}
	for name, tt := range map[string]struct {
		order *holding.Order
		file  string // instead of the request that waits
		want  string
	}{
		"another user":  {change(func(o *holding.Order) { o.CommonName = "joe" }), "", `is for something else: "CN=jane,O=dev"`},
		"another group": {change(func(o *holding.Order) { o.Organizations = []string{"ops"} }), "", `is for something else: "CN=jane,O=dev"`},
		"a name more":   {change(func(o *holding.Order) { o.DNSNames = []string{"a.example.org"} }), "", `is for something else: "CN=jane,O=dev"`},
		"no request":    {order(), "none", "cannot be read"},
		"nothing":       {order(), " ", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t, objects: map[string]*object{}}
				file := filepath.Join(t.TempDir(), "pair.pem")
				h := &holding.Holder{Place: holding.Place{File: file}, Waiting: quiet}
				try := func(o *holding.Order) error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					_, err := h.Obtain(ctx, f, o)
					return err
				}
				if err := try(order()); err == nil {
					t.Fatal("there is a certificate that nobody has signed")
				}
				waits := file + ".request"
				if tt.file != "" {
					if err := os.WriteFile(waits, []byte(tt.file), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				before, err := os.ReadFile(waits)
				if err != nil {
					t.Fatal(err)
				}
				err = try(tt.order)
				pending, ok := errors.AsType[*holding.PendingError](err)
				if !ok || pending.File != waits || !strings.Contains(err.Error(), waits) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				if after, err := os.ReadFile(waits); err != nil || string(after) != string(before) || f.creates != 1 {
					t.Errorf("the file has changed, or something was asked for: %v, %d requests", err, f.creates)
				}
				// Once it is given up, the other is asked for.
				if err := os.Remove(waits); err != nil {
					t.Fatal(err)
				}
				f.decide = func(r *object) error { r.Status.Certificate = sign(t, r, nil); return nil }
				if err := try(tt.order); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What a renewal asks for is what the certificate says.
func TestRenewal(t *testing.T) {
	cert := &x509.Certificate{
		Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev"}}, DNSNames: []string{"a"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	o, err := holding.Renewal(cert, "example.com/x", time.Hour, holding.RSA)
	if err != nil || o.CommonName != "jane" || len(o.DNSNames) != 1 || len(o.Usages) != 4 || o.Signer != "example.com/x" || o.Key != holding.RSA {
		t.Errorf("%+v, %v", o, err)
	}
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if _, err := holding.Renewal(cert, "example.com/x", 0, ""); err == nil {
		t.Error("a usage is left out in silence")
	}
}

// A keeper renews in time, tries again when that fails, and gives up when there
// is nothing left to renew.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		leaf := func() *x509.Certificate {
			return &x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(10 * time.Hour)}
		}
		held, renewals, told := leaf(), []time.Duration{}, 0
		var failures atomic.Int64
		failures.Store(3)
		k := &holding.Keeper{
			Read: func() (*tls.Certificate, error) { return &tls.Certificate{Leaf: held}, nil },
			Renew: func(context.Context, *tls.Certificate) (*x509.Certificate, error) {
				if failures.Add(-1) >= 0 {
					return nil, errors.New("away")
				}
				held = leaf()
				renewals = append(renewals, time.Since(began))
				return held, nil
			},
			Renewed: func(context.Context, *x509.Certificate) error { told++; return errors.New("the user is away") },
			Say:     func(string, ...any) {},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Keep(ctx) }()
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if n := len(renewals); n < 12 || n > 14 || told != n {
			t.Errorf("renewed %d times, told %d", n, told)
		}
		if first := renewals[0]; first < 7*time.Hour || first > 8*time.Hour+time.Minute {
			t.Errorf("first renewed after %v", first)
		}
		failures.Store(1 << 30)
		if err := <-done; !errors.Is(err, holding.ErrExpired) || time.Since(held.NotAfter) < 0 || time.Since(held.NotAfter) > time.Second {
			t.Errorf("ended with %v, %v after its end", err, time.Since(held.NotAfter))
		}
		cancel()
		failures.Store(0)
		held = leaf()
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- k.Keep(ctx) }()
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopped with %v", err)
		}
	})
}
