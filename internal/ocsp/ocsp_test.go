package ocsp_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"gatehouse.dev/gatehouse/internal/ocsp"
	"gatehouse.dev/gatehouse/internal/pki"
)

// A world is an authority and what became of its certificates.
type world struct {
	t         *testing.T
	dir       string
	ca        *pki.Authority
	statuses  map[string]ocsp.Status
	broken    error
	lookups   int
	edition   int
	issued    []*x509.Certificate
	responder *ocsp.Responder
	handler   *ocsp.Handler
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), statuses: map[string]ocsp.Status{}}
	var err error
	if w.ca, err = pki.OpenAuthority(w.dir, "ca", "ca"); err != nil {
		t.Fatal(err)
	}
	w.responder, err = ocsp.New(ocsp.Config{
		Authority: w.ca,
		Lookup: func(_ context.Context, serial *big.Int) (ocsp.Status, error) {
			w.lookups++
			status, ok := w.statuses[serial.String()]
			if !ok && w.broken == nil {
				return status, fmt.Errorf("serial %x: %w", serial, ocsp.ErrUnknown)
			}
			return status, w.broken
		},
		Edition: func(context.Context) (string, error) { return fmt.Sprint(w.edition), nil },
		Issued: func(_ context.Context, c *x509.Certificate) error {
			w.issued = append(w.issued, c)
			return w.broken
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.handler = &ocsp.Handler{Path: "/ocsp/", Responders: []*ocsp.Responder{w.responder}, Log: slog.New(slog.DiscardHandler)}
	return w
}

func (w *world) client(name string, status ocsp.Status) *x509.Certificate {
	w.t.Helper()
	issued, err := w.ca.IssueClient(pki.Client{CommonName: name, Lifetime: 24 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name+".crt"), issued.PEM, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.statuses[issued.Certificate.SerialNumber.String()] = status
	return issued.Certificate
}

// post asks as most clients do.
func (w *world) post(question []byte) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, httptest.NewRequest("POST", "/ocsp", bytes.NewReader(question)))
	return recorder
}

// about asks about a certificate, and returns what is said.
func (w *world) about(cert *x509.Certificate) *xocsp.Response {
	w.t.Helper()
	question, err := xocsp.CreateRequest(cert, w.ca.Certificate(), &xocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		w.t.Fatal(err)
	}
	said, err := xocsp.ParseResponseForCert(w.post(question).Body.Bytes(), cert, w.ca.Certificate())
	if err != nil {
		w.t.Fatal(err)
	}
	return said
}

// OpenSSL understands the answers, and finds them well signed.
func TestOpenSSL(t *testing.T) {
	w := newWorld(t)
	w.client("good", ocsp.Status{})
	w.client("revoked", ocsp.Status{Revoked: time.Now().Add(-time.Minute), Reason: 1})
	delete(w.statuses, w.client("unknown", ocsp.Status{}).SerialNumber.String())
	openssl := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"ocsp", "-issuer", "ca.crt"}, args...)...)
		cmd.Dir = w.dir
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	for _, hash := range []string{"-sha1", "-sha256", "-sha512"} {
		for name, want := range map[string][]string{
			"good":    {"Response verify OK", "good.crt: good"},
			"revoked": {"Response verify OK", "revoked.crt: revoked", "Reason: keyCompromise"},
			"unknown": {"Responder Error: unauthorized (6)"},
		} {
			openssl(hash, "-cert", name+".crt", "-no_nonce", "-reqout", "request")
			question, err := os.ReadFile(filepath.Join(w.dir, "request"))
			if err != nil {
				t.Fatal(err)
			}
			answer := w.post(question)
			if err := os.WriteFile(filepath.Join(w.dir, "answer"), answer.Body.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			said := openssl("-CAfile", "ca.crt", hash, "-cert", name+".crt", "-respin", "answer")
			for _, text := range want {
				if !strings.Contains(said, text) {
					t.Errorf("%s with %s: %s, want %q", name, hash, said, text)
				}
			}
			if got := answer.Header().Get("Content-Type"); got != "application/ocsp-response" {
				t.Errorf("Content-Type %q", got)
			}
		}
	}
}

// An answer is signed once, until something changes or half of its life is
// over, and its signer long before it ends.
func TestSignedOnce(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(*testing.T) {
		cert := w.client("jane", ocsp.Status{})
		first := w.about(cert)
		if first.Status != xocsp.Good || first.NextUpdate.Sub(first.ThisUpdate) != ocsp.Lifetime {
			t.Errorf("said %+v", first)
		}
		for range 10 {
			if again := w.about(cert); !bytes.Equal(again.Signature, first.Signature) {
				t.Error("signed twice")
			}
		}
		if w.lookups != 1 || len(w.issued) != 1 {
			t.Errorf("%d lookups and %d signers", w.lookups, len(w.issued))
		}
		w.statuses[cert.SerialNumber.String()] = ocsp.Status{Revoked: time.Now(), Reason: 6}
		w.edition++
		if said := w.about(cert); said.Status != xocsp.Revoked || said.RevocationReason != 6 || said.RevokedAt.IsZero() {
			t.Errorf("after it was revoked: %+v", said)
		}
		w.statuses[cert.SerialNumber.String()] = ocsp.Status{}
		time.Sleep(ocsp.Lifetime/2 + time.Second)
		if said := w.about(cert); said.Status != xocsp.Good || !said.ThisUpdate.After(first.ThisUpdate) {
			t.Errorf("half an hour later: %+v", said)
		}
		time.Sleep(4 * 24 * time.Hour)
		if w.about(cert); len(w.issued) != 2 {
			t.Errorf("%d signers after four days, want 2", len(w.issued))
		}
		for _, signer := range w.issued {
			if signer.KeyUsage != x509.KeyUsageDigitalSignature || len(signer.ExtKeyUsage) != 1 || signer.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning {
				t.Errorf("a signer for %v %v", signer.KeyUsage, signer.ExtKeyUsage)
			}
		}
	})
}

// A change while an answer is made keeps it from being kept.
func TestChangedMeanwhile(t *testing.T) {
	w := newWorld(t)
	cert := w.client("jane", ocsp.Status{})
	lookup := w.responder.Lookup
	w.responder.Lookup = func(ctx context.Context, serial *big.Int) (ocsp.Status, error) {
		status, err := lookup(ctx, serial)
		w.statuses[serial.String()] = ocsp.Status{Revoked: time.Now()}
		w.edition++
		return status, err
	}
	w.about(cert)
	w.responder.Lookup = lookup
	if said := w.about(cert); said.Status != xocsp.Revoked {
		t.Errorf("an old answer was kept: %+v", said)
	}
}

func TestRefusals(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	cert := w.client("jane", ocsp.Status{})
	question, err := xocsp.CreateRequest(cert, w.ca.Certificate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := xocsp.CreateRequest(cert, other.ca.Certificate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		return recorder
	}
	in := base64.StdEncoding.EncodeToString(question)
	if said := get("/ocsp/" + url.PathEscape(in)); said.Header().Get("Cache-Control") == "" || said.Body.Len() < 200 {
		t.Errorf("by GET: %v", said)
	}
	for name, tt := range map[string]struct {
		said *httptest.ResponseRecorder
		want []byte
	}{
		"nothing":             {w.post(nil), xocsp.MalformedRequestErrorResponse},
		"no DER":              {w.post([]byte("who?")), xocsp.MalformedRequestErrorResponse},
		"half a question":     {w.post(question[:len(question)/2]), xocsp.MalformedRequestErrorResponse},
		"a long question":     {w.post(append(question, make([]byte, 5<<10)...)), xocsp.MalformedRequestErrorResponse},
		"no base64":           {get("/ocsp/%21"), xocsp.MalformedRequestErrorResponse},
		"another path":        {get("/other/" + url.PathEscape(in)), xocsp.MalformedRequestErrorResponse},
		"another authority":   {w.post(elsewhere), xocsp.UnauthorizedErrorResponse},
		"another's GET":       {get("/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(elsewhere))), xocsp.UnauthorizedErrorResponse},
		"a PEM certificate":   {w.post(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), xocsp.MalformedRequestErrorResponse},
		"a certificate alone": {w.post(cert.Raw), xocsp.MalformedRequestErrorResponse},
	} {
		if body, _ := io.ReadAll(tt.said.Body); !bytes.Equal(body, tt.want) || tt.said.Header().Get("Cache-Control") != "" {
			t.Errorf("%s: %x, want %x", name, body, tt.want)
		}
	}
	w.broken = errors.New("the store is away")
	w.edition++
	if body := w.post(question).Body.Bytes(); !bytes.Equal(body, xocsp.TryLaterErrorResponse) {
		t.Errorf("without the store: %x", body)
	}
	w.broken = nil
	if said := w.about(cert); said.Status != xocsp.Good {
		t.Errorf("with the store again: %+v", said)
	}
}

func FuzzHandler(f *testing.F) {
	for _, seed := range []string{"", "0\x82", "0\x030\x01\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, question []byte) {
		h := &ocsp.Handler{Path: "/ocsp/", Log: slog.New(slog.DiscardHandler)}
		for _, r := range []*http.Request{
			httptest.NewRequest("POST", "/ocsp", bytes.NewReader(question)),
			httptest.NewRequest("GET", "/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(question)), nil),
		} {
			recorder := httptest.NewRecorder()
			h.ServeHTTP(recorder, r)
			if got := recorder.Body.Bytes(); !bytes.Equal(got, xocsp.MalformedRequestErrorResponse) && !bytes.Equal(got, xocsp.UnauthorizedErrorResponse) {
				t.Errorf("said %x", got)
			}
		}
	})
}
