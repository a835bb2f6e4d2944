package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/revokedcertificates"
	"gatehouse.dev/gatehouse/internal/crl"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/etcd/volume"
	"gatehouse.dev/gatehouse/internal/ocsp"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/register"
)

const (
	// listsPrefix is where the lists of revoked certificates are kept, beside the
	// objects.
	listsPrefix = "/gatehouse/crl/"
	ocspPath    = "/pki/ocsp"
	// listAge is for how long a cache may keep a list.
	listAge = time.Minute
)

// A certifier is an authority of ours that says which of its certificates are
// revoked.
type certifier struct {
	// name is that of its list: NAME.crl.
	name            string
	issuer, subject string
	authority       *pki.Authority
	list            *crl.List
}

// certifiers returns the authorities of ours that may sign lists: that of the
// data directory, and those that sign requests.
func (s *Server) certifiers() ([]certifier, error) {
	all, err := s.allCertifiers()
	if err != nil {
		return nil, err
	}
	able := all[:0]
	for _, a := range all {
		cert := a.authority.Certificate()
		if !a.authority.SignsLists() {
			s.log.Warn("a CA may not sign lists, so its revoked certificates are told of here alone: its key usage lacks cRLSign, or it has no subject key identifier", "ca", cert.Subject.String())
			continue
		}
		a.issuer = clientcert.Credential(identity.ClientCertificate, []*x509.Certificate{cert}).ID
		a.subject = clientcert.SubjectName(cert)
		prefix := listsPrefix + register.Digest(cert.Raw) + "/"
		a.list = crl.New(a.authority, ledger.New(s.client, prefix+"revoked/"), volume.New(s.client, prefix+"list/"))
		able = append(able, a)
	}
	return able, nil
}

// allCertifiers returns the authorities of ours, without their lists.
func (s *Server) allCertifiers() ([]certifier, error) {
	type files struct {
		name, cert, key string
		field           any
	}
	c := &s.cfg.Certificates
	every := []files{{"cluster-signing", c.CertFile, c.KeyFile, &c.CertFile}}
	for _, ca := range signingCAs(c) {
		every = append(every, files{ca.list, *ca.cert, *ca.keyFile, ca.cert})
	}
	for _, own := range c.Signers {
		every = append(every, files{strings.ReplaceAll(own.Name, "/", ":"), own.CertFile, own.KeyFile, &c.Signers})
	}
	var all []certifier
	if own := s.material.authority; own != nil {
		all = append(all, certifier{name: "ca", authority: own})
	}
	for _, f := range every {
		if f.cert == "" {
			continue
		}
		authority, err := pki.LoadAuthority(f.cert, f.key)
		if err != nil {
			return nil, s.cfg.Wrong(f.field, err, mendSigningCA)
		}
		same := func(a certifier) bool { return a.authority.Certificate().Equal(authority.Certificate()) }
		if !slices.ContainsFunc(all, same) {
			all = append(all, certifier{name: f.name, authority: authority})
		}
	}
	return all, nil
}

// listController keeps the lists of revoked certificates.
func (s *Server) listController() controller.Named {
	c := &revokedcertificates.Controller{
		Revocations: s.objects.informers.revocations, Log: s.log,
		Find: func(ctx context.Context, named *v1alpha1.RevocationSpec) (*revokedcertificates.Certificate, error) {
			e, err := s.registered(ctx, named)
			if err != nil || e == nil {
				return nil, err
			}
			return &revokedcertificates.Certificate{Issuer: e.Issuer, Serial: e.Serial, Ends: e.Expires}, nil
		},
		Chain: func(ctx context.Context, chain string) ([]revokedcertificates.Certificate, error) {
			entries, err := s.register.Chain(ctx, chain)
			var all []revokedcertificates.Certificate
			for _, e := range entries {
				all = append(all, revokedcertificates.Certificate{Issuer: e.Issuer, Serial: e.Serial, Ends: e.Expires})
			}
			return all, err
		},
	}
	for _, a := range s.certificateStatus {
		c.Authorities = append(c.Authorities, revokedcertificates.Authority{Issuer: a.issuer, Subject: a.subject, List: a.list})
	}
	return controller.Named{Name: "revokedcertificates", Run: c.Run}
}

// handleCertificateStatus adds the lists of revoked certificates and the OCSP
// responder, and returns their paths.
func (s *Server) handleCertificateStatus(e *endpoints) ([]string, error) {
	var paths []string
	answers := &ocsp.Handler{Path: ocspPath + "/", Log: s.log}
	for _, a := range s.certificateStatus {
		responder, err := ocsp.New(ocsp.Config{
			Authority: a.authority, Edition: a.list.Edition, Lookup: s.statusOf(a), Issued: s.recordResponder(a),
		})
		if err != nil {
			return nil, err
		}
		answers.Responders = append(answers.Responders, responder)
		path := "/pki/" + a.name + ".crl"
		e.handle("GET "+path, s.serveList(a.list))
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		return nil, nil
	}
	e.handle("POST "+ocspPath, answers)
	e.handle("GET "+ocspPath+"/", answers)
	return append(paths, ocspPath), nil
}

// statusOf returns what became of a certificate of an authority.
func (s *Server) statusOf(a certifier) func(context.Context, *big.Int) (ocsp.Status, error) {
	return func(ctx context.Context, serial *big.Int) (ocsp.Status, error) {
		at, reason, revoked, err := a.list.Status(ctx, serial)
		if err != nil || revoked {
			return ocsp.Status{Revoked: at, Reason: reason}, err
		}
		e, err := s.register.FindSerial(ctx, a.issuer, serial.Text(16))
		if err == nil && e == nil {
			err = fmt.Errorf("serial number %x: %w", serial, ocsp.ErrUnknown)
		}
		return ocsp.Status{}, err
	}
}

// recordResponder writes down a certificate that signs answers for an authority.
func (s *Server) recordResponder(a certifier) func(context.Context, *x509.Certificate) error {
	return func(ctx context.Context, cert *x509.Certificate) error {
		e := register.OfCertificate(cert, a.authority.Certificate(), time.Now())
		e.Asker = itself()
		return s.register.Record(ctx, e)
	}
}

// serveList serves a list of revoked certificates in DER form (RFC 5280 section
// 4.2.1.13).
func (s *Server) serveList(list *crl.List) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		der, number, err := list.DER(r.Context())
		switch {
		case errors.Is(err, crl.ErrNone):
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case err != nil:
			s.log.ErrorContext(r.Context(), "reading the list of revoked certificates", "err", err)
			http.Error(w, "the list of revoked certificates cannot be read now", http.StatusServiceUnavailable)
		default:
			header := w.Header()
			header.Set("Content-Type", "application/pkix-crl")
			header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(listAge.Seconds())))
			header.Set("ETag", `"`+number.Text(16)+`"`)
			if r.Header.Get("If-None-Match") == header.Get("ETag") {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(der)
		}
	})
}
