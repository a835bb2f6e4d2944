// Package csrsigning signs approved requests for certificates.
//
// The one idea is the order: a certificate is signed, then recorded, and only
// then stored where who asked can read it. What is lost in between has not left
// the server, so that nothing is out there that no record knows.
//
// It signs for the signers that it was given, and only what has been approved,
// as the store has it at that moment. What a signer refuses gets the condition
// Failed with the reason, and is never tried again.
//
// Upstream: pkg/controller/certificates/signer/signer.go.
package csrsigning

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/signing"
)

// failedReason is upstream's reason of the condition Failed.
const failedReason = "SignerValidationFailure"

type signingRequest = certificatesv1.CertificateSigningRequest

// An Issued certificate is about to leave.
type Issued struct {
	// Authority has signed Certificate.
	Certificate, Authority *x509.Certificate
	// Request is the object that asked for it, which must not be changed.
	Request *signingRequest
	// First is when the first certificate was approved of those that this one
	// renews, or else this one; and Holder is what a renewal must be for.
	First  time.Time
	Holder string
}

// Results of a request, for who counts them.
const (
	ResultIssued  = "issued"
	ResultRefused = "refused"
	ResultError   = "error"
)

// A Controller signs requests. All exported fields are required.
type Controller struct {
	Requests cache.SharedIndexInformer // of *certificatesv1.CertificateSigningRequest
	// Status reads whole requests and writes their status.
	Status  controller.Objects[*signingRequest]
	Signers []*signing.Signer
	// Record writes down what is about to leave. What it cannot write down does
	// not leave.
	Record func(ctx context.Context, issued *Issued) error
	// Count is told how each request ended.
	Count func(signer, result string)
	Log   *slog.Logger

	// indexed is whether Requests has its index. The informer must not be
	// asked: it is shared with others who add theirs.
	indexed bool
}

// Run works until ctx is done, and then returns nil. It may be called again when
// it has returned.
func (c *Controller) Run(ctx context.Context) error {
	if !c.indexed {
		if err := c.Requests.AddIndexers(cache.Indexers{byKey: indexKey}); err != nil {
			return err
		}
		c.indexed = true
	}
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Requests, func(r *signingRequest) []string {
				if !c.ours(r) {
					return nil
				}
				return []string{r.Name}
			}),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// ours reports whether a request is to be signed by one of the signers.
func (c *Controller) ours(r *signingRequest) bool {
	return c.signer(r) != nil && len(r.Status.Certificate) == 0 && has(r, certificatesv1.CertificateApproved) &&
		!has(r, certificatesv1.CertificateDenied) && !has(r, certificatesv1.CertificateFailed)
}

func (c *Controller) signer(r *signingRequest) *signing.Signer {
	for _, s := range c.Signers {
		if s.Name == r.Spec.SignerName {
			return s
		}
	}
	return nil
}

func has(r *signingRequest, t certificatesv1.RequestConditionType) bool {
	for _, condition := range r.Status.Conditions {
		if condition.Type == t && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// sync signs the request of a name.
func (c *Controller) sync(ctx context.Context, name string) error {
	if cached, ok := controller.Cached[*signingRequest](c.Requests, "", name); !ok || !c.ours(cached) {
		return nil
	}
	// The cache may not have seen yet what this very controller has written.
	r, err := c.Status.Get(ctx, "", name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.ours(r) {
		return nil
	}
	signer := c.signer(r)
	issued, err := c.sign(signer, r)
	if refusal, ok := errors.AsType[*signing.Refusal](err); ok {
		return c.fail(ctx, r, refusal)
	}
	if err != nil {
		c.Count(signer.Name, ResultError)
		return fmt.Errorf("signing request %s: %w", name, err)
	}
	return c.hand(ctx, issued)
}

// sign returns the certificate of a request, which nobody has seen yet.
func (c *Controller) sign(signer *signing.Signer, r *signingRequest) (*Issued, error) {
	request, err := signing.Read(r)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	issued := &Issued{Request: r, First: now}
	var latest time.Time
	if first, renewed := signing.RenewedSince(r); renewed {
		issued.First = first
		if latest, err = signer.Latest(first, now); err != nil {
			return nil, err
		}
	}
	if err := c.fresh(request, now); err != nil {
		return nil, err
	}
	if issued.Certificate, issued.Authority, err = signer.Sign(request, now, latest); err != nil {
		return nil, err
	}
	issued.Holder, err = request.Holder()
	return issued, err
}

// hand records a certificate, and puts it where who asked will look.
func (c *Controller) hand(ctx context.Context, issued *Issued) error {
	r, cert := issued.Request, issued.Certificate
	if err := c.Record(ctx, issued); err != nil {
		c.Count(r.Spec.SignerName, ResultError)
		return fmt.Errorf("recording the certificate of request %s: %w", r.Name, err)
	}
	signed := r.DeepCopy()
	signed.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if _, err := c.Status.Update(ctx, signed); err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	c.Count(r.Spec.SignerName, ResultIssued)
	c.Log.InfoContext(ctx, "certificate issued", "request", r.Name, "signer", r.Spec.SignerName, "user", r.Spec.Username,
		"serial", cert.SerialNumber.Text(16), "until", cert.NotAfter)
	return nil
}

// fail says in a request why it will not be signed.
func (c *Controller) fail(ctx context.Context, r *signingRequest, refusal *signing.Refusal) error {
	failed := r.DeepCopy()
	failed.Status.Conditions = append(failed.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue,
		Reason: failedReason, Message: refusal.Error(), LastUpdateTime: metav1.Now(),
	})
	if _, err := c.Status.Update(ctx, failed); err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	c.Count(r.Spec.SignerName, ResultRefused)
	c.Log.InfoContext(ctx, "request for a certificate refused", "request", r.Name, "signer", r.Spec.SignerName, "user", r.Spec.Username, "err", refusal)
	return nil
}
