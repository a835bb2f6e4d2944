// Package csrsigning signs approved requests for certificates.
//
// The one idea is the order: a certificate is signed, then recorded, then judged
// once more by all that was revoked until then, and only then stored where who
// asked can read it. What is lost in between has not left the server, so that
// nothing is out there that no record knows, nor anything that was asked for with
// what was taken back before.
//
// It signs for the signers that it was given, and only what has been approved,
// as the store has it at that moment. A certificate that was asked for with another
// one of the same user continues its chain, whichever signers the two are of, and is
// taken back with it. What a signer refuses gets the condition Failed with the
// reason, and is never tried again.
//
// Upstream: pkg/controller/certificates/signer/signer.go.
package csrsigning

import (
	"context"
	"crypto/x509"
	"encoding/hex"
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

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/pki"
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
	// Since is what the total lifetime of renewals is counted from: when the first
	// certificate was signed of those that this one renews, or else this one; and
	// Holder is what a renewal must be for.
	Since  time.Time
	Holder string
	// Parent is the certificate whose chain this one continues, or nil; and Through
	// are the other signers that it came through: see [signing.Held].
	Parent  *signing.Held
	Through []string
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
	// Held returns a certificate that was signed here for a request, by its digest,
	// or nil if there is none.
	Held func(ctx context.Context, digest string) (*signing.Held, error)
	// Judge returns why somebody is not let in any more, or nil; and Follow returns
	// once all that was revoked before the call is known to Judge.
	Judge  func(who *identity.Identity) error
	Follow func(ctx context.Context) error
	// Claim has a key belong to a subject until a time, and reports whether it does:
	// whether it belongs to no other until then. It is true for one of two at once.
	Claim func(ctx context.Context, key, subject string, until time.Time) (bool, error)
	// Record writes down what is about to leave. What it cannot write down does
	// not leave.
	Record func(ctx context.Context, issued *Issued) error
	// Count is told how each request ended.
	Count func(signer, result string)
	Log   *slog.Logger
}

// Run works until ctx is done, and then returns nil. It may be called again when
// it has returned.
func (c *Controller) Run(ctx context.Context) error {
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
	issued, err := c.issue(ctx, signer, r)
	if refusal, ok := errors.AsType[*signing.Refusal](err); ok {
		return c.fail(ctx, r, refusal)
	}
	if err != nil {
		c.Count(signer.Name, ResultError)
		return fmt.Errorf("signing request %s: %w", name, err)
	}
	return c.hand(ctx, issued)
}

// issue signs a certificate and writes it down. It is still for nobody to see.
func (c *Controller) issue(ctx context.Context, signer *signing.Signer, r *signingRequest) (*Issued, error) {
	who := signing.Asker(r)
	if err := c.judge(ctx, r, who); err != nil {
		return nil, err
	}
	issued, err := c.sign(ctx, signer, r)
	if err != nil {
		return nil, err
	}
	if err := c.Record(ctx, issued); err != nil {
		return nil, fmt.Errorf("recording the certificate: %w", err)
	}
	// What is revoked from here on finds it written down. What was until here, on
	// whichever process, has to be known.
	if err := c.Follow(ctx); err != nil {
		return nil, fmt.Errorf("making sure that nothing was revoked meanwhile: %w", err)
	}
	if err := c.judge(ctx, r, who); err != nil {
		return nil, err
	}
	// Last, so that a key belongs to nobody whose certificate is not handed out.
	return issued, c.claim(ctx, issued.Certificate)
}

// judge refuses a request whose sender is not let in any more. The others who may
// read the request are not told why.
func (c *Controller) judge(ctx context.Context, r *signingRequest, who *identity.Identity) error {
	err := c.Judge(who)
	if err == nil {
		return nil
	}
	c.Log.WarnContext(ctx, "a certificate is not issued: its requester is not let in any more", "request", r.Name,
		"signer", r.Spec.SignerName, "user", r.Spec.Username, "err", err)
	return signing.Refuse(errors.New("the credential that this was asked for with has been taken back since: ask with another one"))
}

// sign returns the certificate of a request, which nobody has seen yet.
func (c *Controller) sign(ctx context.Context, signer *signing.Signer, r *signingRequest) (*Issued, error) {
	request, err := signing.Read(r)
	if err != nil {
		return nil, err
	}
	// What the signer refuses anyway is refused with its reason.
	if err := signer.Check(request); err != nil {
		return nil, err
	}
	now := time.Now()
	issued := &Issued{Request: r, Since: now}
	if issued.Holder, err = request.Holder(); err != nil {
		return nil, err
	}
	terms, err := c.terms(ctx, signer, request, issued)
	if err != nil {
		return nil, err
	}
	issued.Certificate, issued.Authority, err = signer.Sign(request, now, terms)
	return issued, err
}

// terms returns what a certificate is held to that continues a chain. Whether it
// does, and since when, the register says, and not the request.
func (c *Controller) terms(ctx context.Context, signer *signing.Signer, request *signing.Request, issued *Issued) (signing.Terms, error) {
	var terms signing.Terms
	if digest := signing.Presented(issued.Request); digest != "" {
		held, err := c.Held(ctx, digest)
		if err != nil {
			return terms, err
		}
		if held.Precedes(request) {
			issued.Parent, issued.Through = held, held.Onward(issued.Request)
			if terms.Serial, err = pki.NextSerial(held.Serial); err != nil {
				return terms, err
			}
		}
	}
	if !signing.IsRenewal(issued.Request) {
		return terms, nil
	}
	if from := issued.Parent; from == nil || from.Signer != signer.Name || from.Holder != issued.Holder {
		return terms, signing.Refuse(errors.New("the certificate that this renews is not known any more: ask for a new approval"))
	}
	latest, err := signer.Latest(issued.Parent.Since, issued.Since)
	issued.Since, terms.Latest = issued.Parent.Since, latest
	return terms, err
}

// claim refuses a key that is certified for another subject: who has it could be
// either, and to take back one would leave him the other.
func (c *Controller) claim(ctx context.Context, cert *x509.Certificate) error {
	id, err := signing.KeyID(cert.PublicKey)
	if err != nil {
		return err
	}
	ours, err := c.Claim(ctx, hex.EncodeToString(id[:]), signing.SubjectID(cert), cert.NotAfter)
	if err != nil {
		return err
	}
	if !ours {
		return signing.Refuse(errors.New("the key is already certified for another subject: make a new one"))
	}
	return nil
}

// hand puts a certificate where who asked will look.
func (c *Controller) hand(ctx context.Context, issued *Issued) error {
	r, cert := issued.Request, issued.Certificate
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
