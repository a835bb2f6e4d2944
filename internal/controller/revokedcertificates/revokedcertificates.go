// Package revokedcertificates puts the certificates that Revocations name on the
// lists of their authorities.
//
// The idea is that a list is made anew from all Revocations whenever one of them
// changes, so that nothing depends on the order in which they came or on what was
// missed. What a list never forgets is the business of package crl.
//
// It passes over Revocations of users, groups, keys and issuers: a list names
// certificates, and those are refused at our door all the same.
package revokedcertificates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/crl"
)

// poll is how often it is looked whether a list is getting old.
const poll = 10 * time.Minute

// An Authority is one that keeps a list.
type Authority struct {
	// Issuer is how credentials name it, X509SHA256= and the digest of its
	// certificate, and Subject its name in the form of RFC 2253.
	Issuer, Subject string
	List            List
}

// A List is what [crl.List] is.
type List interface {
	Keep(ctx context.Context, revoked []crl.Revoked, now time.Time) (changed bool, err error)
}

// A Certificate is one that was issued.
type Certificate struct {
	Issuer, Serial string
	Ends           time.Time
}

// A Controller keeps the lists. All fields are required.
type Controller struct {
	Revocations cache.SharedIndexInformer // of *v1alpha1.Revocation
	Authorities []Authority
	// Find returns the certificate that a Revocation names, or nil if it was not
	// issued here.
	Find func(context.Context, *v1alpha1.RevocationSpec) (*Certificate, error)
	// Chain returns the certificates that were renewed from one another.
	Chain func(ctx context.Context, chain string) ([]Certificate, error)
	Log   *slog.Logger
}

// A key stands for all lists.
type key struct{}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	one := []key{{}}
	loop := controller.Loop[key]{
		Sources: []controller.Source[key]{
			controller.Watch(c.Revocations, func(r *v1alpha1.Revocation) []key {
				if r.Spec.Certificate == nil {
					return nil
				}
				return one
			}),
			controller.Poll(poll, func() []key { return one }),
		},
		Sync:    c.sync,
		Workers: 1,
		Log:     c.Log,
	}
	return loop.Run(ctx)
}

// sync brings every list up to date.
func (c *Controller) sync(ctx context.Context, _ key) error {
	revoked := make([][]crl.Revoked, len(c.Authorities))
	for _, obj := range c.Revocations.GetStore().List() {
		r, ok := obj.(*v1alpha1.Revocation)
		if !ok || r.Spec.Certificate == nil {
			continue
		}
		if err := errors.Join(c.place(ctx, r, revoked), c.placeChain(ctx, r, revoked)); err != nil {
			return fmt.Errorf("revocation %s: %w", r.Name, err)
		}
	}
	var failed []error
	for i, a := range c.Authorities {
		changed, err := a.List.Keep(ctx, revoked[i], time.Now())
		if err != nil {
			failed = append(failed, fmt.Errorf("the list of %s: %w", a.Subject, err))
		}
		if changed {
			c.Log.InfoContext(ctx, "the list of revoked certificates has changed", "ca", a.Subject)
		}
	}
	return errors.Join(failed...)
}

// place puts the certificate that a Revocation names on the list of whoever
// issued it, if that is one of ours. A serial number alone tells the authority by
// its name; two of one name are both told of it.
func (c *Controller) place(ctx context.Context, r *v1alpha1.Revocation, revoked [][]crl.Revoked) error {
	named := r.Spec.Certificate
	entry := crl.Revoked{At: r.CreationTimestamp.Time, Reason: code(r.Spec.Reason)}
	if ends := r.Spec.CredentialExpiresAt; ends != nil {
		entry.Ends = ends.Time
	}
	issuer, serial := "", named.SerialNumber
	found, err := c.Find(ctx, &r.Spec)
	if err != nil {
		return err
	}
	if found != nil {
		issuer, serial, entry.Ends = found.Issuer, found.Serial, found.Ends
	}
	var ok bool
	if entry.Serial, ok = crl.ParseSerial(serial); !ok {
		return nil // somebody else has issued it, or it is long over
	}
	for i, a := range c.Authorities {
		if issuer == a.Issuer || issuer == "" && named.Issuer == a.Subject {
			revoked[i] = append(revoked[i], entry)
		}
	}
	return nil
}

// placeChain puts the certificates on the lists that were renewed from the one
// that a Revocation names, and those that this was renewed from. What is issued
// was recorded before it was known who is revoked, so none of them is missed.
func (c *Controller) placeChain(ctx context.Context, r *v1alpha1.Revocation, revoked [][]crl.Revoked) error {
	if r.Spec.Certificate.Chain == "" {
		return nil
	}
	all, err := c.Chain(ctx, r.Spec.Certificate.Chain)
	if err != nil {
		return err
	}
	for _, found := range all {
		serial, ok := crl.ParseSerial(found.Serial)
		i := slices.IndexFunc(c.Authorities, func(a Authority) bool { return a.Issuer == found.Issuer })
		if !ok || i < 0 {
			continue
		}
		revoked[i] = append(revoked[i], crl.Revoked{Serial: serial, At: r.CreationTimestamp.Time, Reason: code(r.Spec.Reason), Ends: found.Ends})
	}
	return nil
}

// code returns the CRLReason of a reason (RFC 5280 section 5.3.1).
func code(reason v1alpha1.RevocationReason) int {
	switch reason {
	case v1alpha1.ReasonKeyCompromise:
		return 1
	case v1alpha1.ReasonCACompromise:
		return 2
	case v1alpha1.ReasonAffiliationChanged:
		return 3
	case v1alpha1.ReasonSuperseded:
		return 4
	case v1alpha1.ReasonCessationOfOperation:
		return 5
	case v1alpha1.ReasonCertificateHold:
		return crl.Hold
	case v1alpha1.ReasonPrivilegeWithdrawn:
		return 9
	case v1alpha1.ReasonAACompromise:
		return 10
	default: // unspecified
		return 0
	}
}
