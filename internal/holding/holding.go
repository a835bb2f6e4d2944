// Package holding gets a certificate from the server of a kubeconfig and keeps
// it: it makes the key and the request, waits until somebody has approved it,
// and renews the certificate before it ends.
//
// The one idea is that what is asked for survives: key and request are on the
// disk before the server hears of them, and the request is named by its own
// digest, so that whoever is interrupted while waiting goes on with the same
// one. Certificate and key change together, in one step.
//
// The key never leaves the machine. Refused is a certificate for another key or
// subject than was asked for.
package holding

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Errors that say how a request ended.
var (
	// ErrDenied is of a request that somebody has denied.
	ErrDenied = errors.New("the request was denied")
	// ErrFailed is of a request that the signer will not sign.
	ErrFailed = errors.New("the signer does not sign the request")
	// ErrGone is of a request that was deleted before it was signed.
	ErrGone = errors.New("the request was deleted before it was signed")
)

// Kinds of keys.
const (
	ECDSA   = "ecdsa"
	RSA     = "rsa"
	Ed25519 = "ed25519"
)

// An Order is what certificate is wanted.
type Order struct {
	Signer string
	Usages []certificatesv1.KeyUsage
	// Lifetime is for how long, or 0 for as long as the signer likes.
	Lifetime time.Duration

	CommonName     string
	Organizations  []string
	DNSNames       []string
	IPAddresses    []net.IP
	EmailAddresses []string
	URIs           []*url.URL
	// Key is the kind of key that is made.
	Key string
}

// A Requests is the resource, as far as it is needed. Errors are API errors.
type Requests interface {
	Create(ctx context.Context, r *certificatesv1.CertificateSigningRequest) (*certificatesv1.CertificateSigningRequest, error)
	Get(ctx context.Context, name string) (*certificatesv1.CertificateSigningRequest, error)
}

// A Holder gets certificates and keeps them in one place.
type Holder struct {
	Place Place
	// Waiting is told the name of a request that is waited for, and for how long
	// already, about once a second.
	Waiting func(name string, since time.Duration)
}

// Renewal is what renewing a certificate asks for: the same of the same signer.
func Renewal(cert *x509.Certificate, signer string, lifetime time.Duration, key string) (*Order, error) {
	o := &Order{
		Signer: signer, Lifetime: lifetime, Key: key,
		CommonName: cert.Subject.CommonName, Organizations: cert.Subject.Organization,
		DNSNames: cert.DNSNames, IPAddresses: cert.IPAddresses, EmailAddresses: cert.EmailAddresses, URIs: cert.URIs,
	}
	for bit, usage := range map[x509.KeyUsage]certificatesv1.KeyUsage{
		x509.KeyUsageDigitalSignature: certificatesv1.UsageDigitalSignature, x509.KeyUsageKeyEncipherment: certificatesv1.UsageKeyEncipherment,
		x509.KeyUsageKeyAgreement: certificatesv1.UsageKeyAgreement, x509.KeyUsageContentCommitment: certificatesv1.UsageContentCommitment,
		x509.KeyUsageDataEncipherment: certificatesv1.UsageDataEncipherment,
	} {
		if cert.KeyUsage&bit != 0 {
			o.Usages = append(o.Usages, usage)
		}
	}
	for _, use := range cert.ExtKeyUsage {
		switch use {
		case x509.ExtKeyUsageClientAuth:
			o.Usages = append(o.Usages, certificatesv1.UsageClientAuth)
		case x509.ExtKeyUsageServerAuth:
			o.Usages = append(o.Usages, certificatesv1.UsageServerAuth)
		default:
			return nil, fmt.Errorf("the certificate has a usage, %d, that cannot be asked for here", use)
		}
	}
	slices.Sort(o.Usages) // the same order names the same order
	return o, nil
}

// Obtain asks for what is ordered, waits until it is signed, and puts it into
// its place. It goes on with a request of before if that was for the same, and leaves one alone that was not.
func (h *Holder) Obtain(ctx context.Context, requests Requests, order *Order) (*x509.Certificate, error) {
	pending, err := h.pending(order)
	if err != nil {
		return nil, err
	}
	object, err := requests.Create(ctx, order.object(pending))
	if apierrors.IsAlreadyExists(err) {
		object, err = requests.Get(ctx, order.name(pending))
	}
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate: %w", err)
	}
	chain, err := h.wait(ctx, requests, object)
	if errors.Is(err, ErrDenied) || errors.Is(err, ErrFailed) || errors.Is(err, ErrGone) {
		// Asking for the same again is another request, with another key.
		return nil, errors.Join(err, h.Place.forget())
	}
	if err != nil {
		return nil, err
	}
	cert, err := order.check(chain, pending.key)
	if err != nil {
		return nil, errors.Join(err, h.Place.forget())
	}
	if err := h.Place.write(chain, pending.keyPEM); err != nil {
		return nil, err
	}
	return cert, h.Place.forget()
}

// A PendingError is why nothing was asked for: a file has another request, which
// may be approved still and whose key is nowhere else.
type PendingError struct {
	File string
	why  string
}

func (e *PendingError) Error() string { return e.File + " " + e.why }

// pending returns the key and request of an order, which are on the disk.
func (h *Holder) pending(order *Order) (*pending, error) {
	switch p, err := h.Place.pending(); {
	case err == nil && order.wants(p.request):
		return p, nil
	case err == nil:
		return nil, &PendingError{h.Place.waiting(), "has a request that waits for its approval, and is for something else: " + told(p.request)}
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
		return nil, &PendingError{h.Place.waiting(), "should have a request that waits for its approval, and cannot be read: " + err.Error()}
	}
	key, err := newKey(order.Key)
	if err != nil {
		return nil, err
	}
	p, err := order.ask(key)
	if err != nil {
		return nil, err
	}
	return p, h.Place.keep(p)
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case RSA:
		return rsa.GenerateKey(rand.Reader, 3072)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case ECDSA, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("there is no kind of key %q: choose %s, %s or %s", kind, ECDSA, RSA, Ed25519)
}

func (o *Order) ask(key crypto.Signer) (*pending, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: o.CommonName, Organization: o.Organizations},
		DNSNames: o.DNSNames, IPAddresses: o.IPAddresses, EmailAddresses: o.EmailAddresses, URIs: o.URIs,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	return newPending(key, der)
}

// wants reports whether a request is for what is ordered.
func (o *Order) wants(r *x509.CertificateRequest) bool {
	return same(o.Organizations, r.Subject.Organization) && o.CommonName == r.Subject.CommonName && same(o.DNSNames, r.DNSNames) &&
		same(o.EmailAddresses, r.EmailAddresses) && same(texts(o.IPAddresses, net.IP.String), texts(r.IPAddresses, net.IP.String)) &&
		same(texts(o.URIs, (*url.URL).String), texts(r.URIs, (*url.URL).String))
}

// told is what a request is for.
func told(r *x509.CertificateRequest) string {
	text := strconv.Quote(r.Subject.String())
	names := slices.Concat(r.DNSNames, r.EmailAddresses, texts(r.IPAddresses, net.IP.String), texts(r.URIs, (*url.URL).String))
	if len(names) > 0 {
		text += fmt.Sprintf(" with the names %q", names)
	}
	return text
}

func (o *Order) object(p *pending) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: certificatesv1.SchemeGroupVersion.String(), Kind: "CertificateSigningRequest"},
		ObjectMeta: metav1.ObjectMeta{Name: o.name(p)},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: p.request.Raw}),
			SignerName: o.Signer, Usages: o.Usages,
		},
	}
	if o.Lifetime > 0 {
		seconds := int32(min(o.Lifetime/time.Second, 1<<31-1))
		r.Spec.ExpirationSeconds = &seconds
	}
	return r
}

// name is the digest of the order and the request, so that it is found again by
// who wants the same.
func (o *Order) name(p *pending) string {
	digest := sha256.New()
	fmt.Fprintf(digest, "%q %q %d ", o.Signer, o.Usages, o.Lifetime)
	digest.Write(p.request.Raw)
	return "gatehouse-" + hex.EncodeToString(digest.Sum(nil)[:10])
}

// How often a request is looked at.
const (
	firstLook = time.Second
	lastLook  = 5 * time.Second
)

// wait returns the certificates in a request once they are there.
func (h *Holder) wait(ctx context.Context, requests Requests, object *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	name, began, pause := object.Name, time.Now(), firstLook/4
	for {
		if len(object.Status.Certificate) > 0 {
			return object.Status.Certificate, nil
		}
		if err := ended(object); err != nil {
			return nil, err
		}
		h.Waiting(name, time.Since(began))
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the approval of %s: %w", name, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastLook)
		next, err := requests.Get(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			return nil, ErrGone
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return nil, fmt.Errorf("waiting for the approval of %s: %w", name, err)
		case err == nil:
			object = next
		}
		// Any other error is of a server that is away for a moment.
	}
}

// ended returns how a request has ended that will never be signed.
func ended(object *certificatesv1.CertificateSigningRequest) error {
	for _, c := range object.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case certificatesv1.CertificateDenied:
			return fmt.Errorf("%w: %s", ErrDenied, c.Message)
		case certificatesv1.CertificateFailed:
			return fmt.Errorf("%w: %s", ErrFailed, c.Message)
		}
	}
	return nil
}

// check returns the certificate, the first of those in PEM form, if it is what
// was ordered.
func (o *Order) check(chain []byte, key crypto.Signer) (*x509.Certificate, error) {
	block, _ := pem.Decode(chain)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the server has handed out no certificate in PEM form")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the server has handed out a certificate that cannot be read: %w", err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(cert.PublicKey):
		return nil, errors.New("the server has handed out a certificate for another key")
	case cert.Subject.CommonName != o.CommonName || !same(cert.Subject.Organization, o.Organizations):
		return nil, fmt.Errorf("the server has handed out a certificate for another subject: %s", cert.Subject)
	}
	return cert, nil
}
