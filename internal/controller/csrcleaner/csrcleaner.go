// Package csrcleaner deletes requests for certificates that have served their
// purpose, or never will.
//
// The idea is that a request is a message and not a record: who asked has
// fetched his certificate within the hour, or never will. Deleting it takes
// nothing back. A request is deleted only as it was looked at, so a decision at
// the last moment wins.
//
// Upstream: pkg/controller/certificates/cleaner/cleaner.go, and its times.
package csrcleaner

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// Upstream's times: how often it looks, and how old what becomes.
const (
	interval   = time.Hour
	pendingFor = 24 * time.Hour
	decidedFor = time.Hour
	// unissuedFor is for what was approved and no signer has signed.
	unissuedFor = 24 * time.Hour
)

type signingRequest = certificatesv1.CertificateSigningRequest

// A Controller deletes old requests. All fields are required.
type Controller struct {
	Requests cache.SharedIndexInformer // of *certificatesv1.CertificateSigningRequest
	Store    controller.Objects[*signingRequest]
	Log      *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			// The informer has caught up before the first look: its source is
			// here only for that.
			controller.Watch(c.Requests, func(*signingRequest) []string { return nil }),
			controller.Poll(interval, c.Requests.GetIndexer().ListKeys),
		},
		Sync:    c.sync,
		Workers: 1,
		Log:     c.Log,
	}
	return loop.Run(ctx)
}

func (c *Controller) sync(ctx context.Context, name string) error {
	r, ok := controller.Cached[*signingRequest](c.Requests, "", name)
	if !ok {
		return nil
	}
	why, err := outlived(r, time.Now())
	if err != nil {
		c.Log.WarnContext(ctx, "the certificate in a request cannot be read, so the request stays", "request", name, "err", err)
		return nil
	}
	if why == "" {
		return nil
	}
	if err := c.Store.Delete(ctx, "", name, controller.Exactly(r)); err != nil {
		return controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict)
	}
	c.Log.InfoContext(ctx, "request for a certificate deleted", "request", name, "because", why)
	return nil
}

// outlived says why a request may go, or "".
func outlived(r *signingRequest, now time.Time) (string, error) {
	issued := len(r.Status.Certificate) > 0
	if issued {
		ended, err := expired(r.Status.Certificate, now)
		if err != nil {
			return "", err
		}
		if ended {
			return "its certificate has expired", nil
		}
	}
	if len(r.Status.Conditions) == 0 && older(r.CreationTimestamp, now, pendingFor) {
		return "nobody has decided about it", nil
	}
	for _, condition := range r.Status.Conditions {
		since := condition.LastUpdateTime
		switch {
		case condition.Type == certificatesv1.CertificateDenied && older(since, now, decidedFor):
			return "it was denied", nil
		case condition.Type == certificatesv1.CertificateFailed && older(since, now, decidedFor):
			return "it could not be signed", nil
		case condition.Type == certificatesv1.CertificateApproved && issued && older(since, now, decidedFor):
			return "its certificate was issued", nil
		case condition.Type == certificatesv1.CertificateApproved && !issued && older(since, now, unissuedFor):
			return "nobody has signed it", nil
		}
	}
	return "", nil
}

func older(t metav1.Time, now time.Time, than time.Duration) bool {
	return !t.IsZero() && now.Sub(t.Time) > than
}

// expired reports whether the first of the certificates has ended.
func expired(text []byte, now time.Time) (bool, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return false, errors.New("expected the certificate associated with the CSR to be PEM encoded")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, fmt.Errorf("unable to parse certificate data: %w", err)
	}
	return now.After(cert.NotAfter), nil
}
