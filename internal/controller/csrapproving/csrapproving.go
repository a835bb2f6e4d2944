// Package csrapproving approves the requests for certificates that need no
// person to look at them.
//
// The one idea is that a request is approved because of a permission that who
// made it has, asked for anew and as whom the server knew him when he made it:
// nothing that he could write himself counts. A [Recognizer] says which requests
// are of a kind, and what must hold for them. What nobody recognizes, or what is
// not permitted, waits for a person; and so does what was asked for with a
// credential that was taken back since.
//
// It never denies, and it never touches a request that somebody has decided on.
//
// Upstream: pkg/controller/certificates/approver/sarapprove.go.
package csrapproving

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/signing"
)

type signingRequest = certificatesv1.CertificateSigningRequest

// A Recognizer knows one kind of requests.
type Recognizer interface {
	// Recognize returns the approval of a request, or nil if it is of another
	// kind or may not be approved. Then tried names what was looked for, if the
	// request is of the kind.
	Recognize(ctx context.Context, object *signingRequest, request *signing.Request) (approval *Approval, tried string, err error)
}

// An Approval is what is written into a request.
type Approval struct {
	Reason, Message string
	// More are conditions beside it.
	More []certificatesv1.CertificateSigningRequestCondition
}

// A Controller approves requests. All fields are required.
type Controller struct {
	Requests    cache.SharedIndexInformer // of *certificatesv1.CertificateSigningRequest
	Approval    controller.Objects[*signingRequest]
	Recognizers []Recognizer
	// Judge returns why somebody is not let in any more, or nil: what he asked with
	// may have been taken back since.
	Judge func(who *identity.Identity) error
	Log   *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Requests, func(r *signingRequest) []string {
				if decided(r) {
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

// sync approves the request of a name if it may be. One that was recognized and
// is not permitted is looked at again: the permission may come.
func (c *Controller) sync(ctx context.Context, name string) error {
	cached, ok := controller.Cached[*signingRequest](c.Requests, "", name)
	if !ok || decided(cached) {
		return nil
	}
	request, err := signing.Read(cached)
	if err != nil {
		// Validation has refused such requests; one that is there all the same
		// is for a person to look at.
		c.Log.WarnContext(ctx, "a request for a certificate cannot be read", "request", name, "err", err)
		return nil
	}
	if err := c.Judge(signing.Asker(cached)); err != nil {
		return &controller.Again{Reason: err.Error()}
	}
	var tried []string
	for _, recognizer := range c.Recognizers {
		approval, what, err := recognizer.Recognize(ctx, cached, request)
		if err != nil {
			return fmt.Errorf("judging request %s: %w", name, err)
		}
		if approval != nil {
			return c.approve(ctx, cached, approval)
		}
		if what != "" {
			tried = append(tried, what)
		}
	}
	if len(tried) > 0 {
		return &controller.Again{Reason: fmt.Sprintf("recognized csr %q as [%s] but subject access review was not approved", name, strings.Join(tried, " "))}
	}
	return nil
}

// approve writes the approval into exactly the object that was looked at.
func (c *Controller) approve(ctx context.Context, cached *signingRequest, approval *Approval) error {
	approved := cached.DeepCopy()
	now := metav1.Now()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
		Reason: approval.Reason, Message: approval.Message, LastUpdateTime: now,
	})
	approved.Status.Conditions = append(approved.Status.Conditions, approval.More...)
	if _, err := c.Approval.Update(ctx, approved); err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	c.Log.InfoContext(ctx, "request for a certificate approved", "request", cached.Name, "signer", cached.Spec.SignerName,
		"user", cached.Spec.Username, "reason", approval.Reason)
	return nil
}

// decided reports whether a request is none of ours any more.
func decided(r *signingRequest) bool {
	if len(r.Status.Certificate) > 0 {
		return true
	}
	for _, c := range r.Status.Conditions {
		if c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied {
			return true
		}
	}
	return false
}
