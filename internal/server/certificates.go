package server

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/csrapproving"
	"gatehouse.dev/gatehouse/internal/controller/csrcleaner"
	"gatehouse.dev/gatehouse/internal/controller/csrsigning"
	"gatehouse.dev/gatehouse/internal/controller/trustbundle"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/signing"
)

const mendSigningCA = "name the certificate of a CA and its private key, both in PEM form"

// A signingCA is the files of a CA that signs requests.
type signingCA struct {
	signer        string
	cert, keyFile *string
}

// signingCAs are the files of the CAs of Kubernetes' signers, those that are for
// one signer alone.
func signingCAs(c *config.Certificates) []signingCA {
	return []signingCA{
		{certificatesv1.KubeAPIServerClientSignerName, &c.KubeAPIServerClientCertFile, &c.KubeAPIServerClientKeyFile},
		{certificatesv1.KubeAPIServerClientKubeletSignerName, &c.KubeletClientCertFile, &c.KubeletClientKeyFile},
		{certificatesv1.KubeletServingSignerName, &c.KubeletServingCertFile, &c.KubeletServingKeyFile},
		{signing.LegacyUnknown, &c.LegacyUnknownCertFile, &c.LegacyUnknownKeyFile},
	}
}

// checkCertificates reads the files of the CAs that sign requests.
func (s *Server) checkCertificates() error {
	c := &s.cfg.Certificates
	var errs []error
	for _, ca := range append(signingCAs(c), signingCA{"", &c.CertFile, &c.KeyFile}) {
		if *ca.cert == "" {
			continue
		}
		if _, err := pki.LoadAuthority(*ca.cert, *ca.keyFile); err != nil {
			errs = append(errs, s.cfg.Wrong(ca.cert, err, mendSigningCA))
		}
	}
	return errors.Join(errs...)
}

// signers are those that this server signs for: of Kubernetes' four, those that
// have a CA.
func (s *Server) signers() []*signing.Signer {
	c := &s.cfg.Certificates
	var all []*signing.Signer
	for _, ca := range signingCAs(c) {
		authority := s.signingAuthority(ca)
		rules, ok := signing.KubernetesRules(ca.signer)
		if authority == nil || !ok {
			continue
		}
		all = append(all, &signing.Signer{
			Name: ca.signer, Lifetime: time.Duration(c.Duration), Rules: rules, Authority: authority, Reserved: s.reservedKeys,
		})
	}
	return all
}

// signingAuthority returns what reads the CA of a signer, or nil if there is
// none: its own files, those of all signers, or else the CA of the data folder.
// Files are read for each signing, so that they need not be followed: a CA that
// is written in two steps, or that is bad, is tried again.
func (s *Server) signingAuthority(ca signingCA) func() (signing.Authority, error) {
	cert, key := *ca.cert, *ca.keyFile
	if cert == "" {
		cert, key = s.cfg.Certificates.CertFile, s.cfg.Certificates.KeyFile
	}
	switch {
	case cert != "":
		return func() (signing.Authority, error) { return loadAuthority(cert, key) }
	case s.material.authority != nil:
		return func() (signing.Authority, error) { return s.material.authority, nil }
	}
	return nil
}

func loadAuthority(cert, key string) (signing.Authority, error) {
	authority, err := pki.LoadAuthority(cert, key)
	if err != nil {
		return nil, err
	}
	return authority, nil
}

// reservedKeys are the keys that no certificate is signed for: whoever has one of
// them is an authority, or this server. What cannot be read now has been refused
// or told of elsewhere, and its key of before is unknown.
func (s *Server) reservedKeys() map[[sha256.Size]byte]string {
	all := map[[sha256.Size]byte]string{}
	add := func(whose string, certs ...*x509.Certificate) {
		for _, cert := range certs {
			if id, err := signing.KeyID(cert.PublicKey); err == nil {
				all[id] = whose
			}
		}
	}
	if pair, err := s.material.serving.GetCertificate(nil); err == nil && pair.Leaf != nil {
		add("this server", pair.Leaf)
	}
	c := &s.cfg.Certificates
	files := append([]string{s.cfg.Authentication.RequestHeader.ClientCAFile, s.cfg.ServiceAccounts.RootCAFile, c.CertFile}, s.material.clientCAs...)
	for _, ca := range signingCAs(c) {
		files = append(files, *ca.cert)
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if certs, err := pki.ParseCertificates(text); err == nil {
			add("a certificate authority", certs...)
		}
	}
	if s.material.authority != nil {
		add("a certificate authority", s.material.authority.Certificate())
	}
	return all
}

// certificateControllers decide about requests for certificates, sign them and
// delete them, and publish whom to trust.
func (s *Server) certificateControllers() []controller.Named {
	o, i, log := s.objects, &s.objects.informers, s.log
	named := []controller.Named{
		{Name: "csrapproving", Run: (&csrapproving.Controller{
			Requests: i.requests, Approval: o.requestApproval, Recognizers: csrapproving.Kubelets(s.authorizer), Log: log,
		}).Run},
		{Name: "csrcleaner", Run: (&csrcleaner.Controller{
			Requests: i.requests, Store: o.requests, Keep: func(*certificatesv1.CertificateSigningRequest) bool { return false }, Log: log,
		}).Run},
		{Name: "kube-apiserver-serving-clustertrustbundle-publisher", Run: (&trustbundle.Controller{
			Bundles: i.trustBundles, Store: o.trustBundles, CA: s.rootCA, Log: log,
		}).Run},
	}
	signers := s.signers()
	if len(signers) == 0 {
		log.Warn("no CA signs requests for certificates: give --cluster-signing-cert-file and --cluster-signing-key-file if one shall")
		return named
	}
	s.warnOfStrangers(signers)
	return append(named, controller.Named{Name: "csrsigning", Run: (&csrsigning.Controller{
		Requests: i.requests, Status: o.requestStatus, Signers: signers, Count: s.metrics.CertificateRequests(), Log: log,
	}).Run})
}

// warnOfStrangers says which client certificates would be signed by a CA whose
// clients this server does not let in.
func (s *Server) warnOfStrangers(signers []*signing.Signer) {
	trusted := map[string]bool{}
	for _, file := range s.material.clientCAs {
		ids, err := pki.Fingerprints(file)
		if err != nil {
			return // told of elsewhere
		}
		for _, id := range ids {
			trusted[id] = true
		}
	}
	for _, signer := range signers {
		authority, err := signer.Authority()
		if err != nil || signer.Name == certificatesv1.KubeletServingSignerName || signer.Name == signing.LegacyUnknown {
			continue
		}
		if !trusted[pki.Fingerprint(authority.Certificate())] {
			s.log.Warn("the certificates of a signer will not be let in here: add its CA to the file of --client-ca-file", "signer", signer.Name,
				"ca", fmt.Sprint(authority.Certificate().Subject))
		}
	}
}
