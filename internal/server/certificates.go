package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/csrapproving"
	"gatehouse.dev/gatehouse/internal/controller/csrcleaner"
	"gatehouse.dev/gatehouse/internal/controller/csrsigning"
	"gatehouse.dev/gatehouse/internal/controller/trustbundle"
	"gatehouse.dev/gatehouse/internal/crl"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/signing"
)

const mendSigningCA = "name the certificate of a CA and its private key, both in PEM form"

// A signingCA is the files of a CA that signs requests, and the name of its list
// of revoked certificates.
type signingCA struct {
	signer, list  string
	cert, keyFile *string
}

// signingCAs are the files of the CAs of Kubernetes' signers, those that are for
// one signer alone.
func signingCAs(c *config.Certificates) []signingCA {
	return []signingCA{
		{certificatesv1.KubeletServingSignerName, "kubelet-serving", &c.KubeletServingCertFile, &c.KubeletServingKeyFile},
		{certificatesv1.KubeAPIServerClientKubeletSignerName, "kubelet-client", &c.KubeletClientCertFile, &c.KubeletClientKeyFile},
		{certificatesv1.KubeAPIServerClientSignerName, "kube-apiserver-client", &c.KubeAPIServerClientCertFile, &c.KubeAPIServerClientKeyFile},
		{signing.LegacyUnknown, "legacy-unknown", &c.LegacyUnknownCertFile, &c.LegacyUnknownKeyFile},
	}
}

// checkCertificates reads the files of the CAs that sign requests.
func (s *Server) checkCertificates() error {
	c := &s.cfg.Certificates
	var errs []error
	for _, ca := range append(signingCAs(c), signingCA{cert: &c.CertFile, keyFile: &c.KeyFile}) {
		errs = append(errs, s.checkSigningCA(ca.cert, *ca.cert, *ca.keyFile))
	}
	for _, own := range c.Signers {
		errs = append(errs, s.checkSigningCA(&c.Signers, own.CertFile, own.KeyFile))
	}
	return errors.Join(errs...)
}

func (s *Server) checkSigningCA(setting any, cert, key string) error {
	if cert == "" {
		return nil
	}
	_, err := pki.LoadAuthority(cert, key)
	return s.cfg.Wrong(setting, err, mendSigningCA)
}

// signers are those that this server signs for: of Kubernetes' four and those of
// one's own, the ones that have a CA.
func (s *Server) signers() []*signing.Signer {
	c := &s.cfg.Certificates
	var all []*signing.Signer
	add := func(signer *signing.Signer, cert, key string) {
		if signer.Authority = s.signingAuthority(cert, key); signer.Authority != nil {
			signer.Reserved = s.reservedKeys
			all = append(all, signer)
		}
	}
	for _, ca := range signingCAs(c) {
		rules, _ := signing.KubernetesRules(ca.signer)
		signer := &signing.Signer{Name: ca.signer, Lifetime: time.Duration(c.Duration), Rules: rules}
		if ca.signer == certificatesv1.KubeAPIServerClientSignerName {
			signer.Renewable = time.Duration(c.ClientRenewableFor)
		}
		add(signer, cmp.Or(*ca.cert, c.CertFile), cmp.Or(*ca.keyFile, c.KeyFile))
	}
	for _, own := range c.Signers {
		// Mistakes were refused with the configuration.
		if rules, mistakes := own.Own().Compile(); len(mistakes) == 0 {
			add(&signing.Signer{
				Name: own.Name, Rules: rules, Lifetime: time.Duration(own.Duration), Renewable: time.Duration(own.RenewableFor),
			}, own.CertFile, own.KeyFile)
		}
	}
	return all
}

// signingAuthority returns what reads a CA that signs, or nil if there is none:
// that of the files, or else the one of the data folder. Files are read for each
// signing, so that they need not be followed: a CA that is written in two steps,
// or that is bad, is tried again.
func (s *Server) signingAuthority(cert, key string) func() (signing.Authority, error) {
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
	add("this server", s.material.serving.Certificate().Leaf)
	c := &s.cfg.Certificates
	files := append([]string{s.cfg.Authentication.RequestHeader.ClientCAFile, s.cfg.ServiceAccounts.RootCAFile, c.CertFile}, s.material.clientCAs...)
	for _, ca := range signingCAs(c) {
		files = append(files, *ca.cert)
	}
	for _, own := range c.Signers {
		files = append(files, own.CertFile)
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
	signers := s.signers()
	named := []controller.Named{
		{Name: "csrapproving", Run: (&csrapproving.Controller{
			Requests: i.requests, Approval: o.requestApproval, Recognizers: s.recognizers(signers), Judge: s.revoked.Judge, Log: log,
		}).Run},
		{Name: "csrcleaner", Run: (&csrcleaner.Controller{Requests: i.requests, Store: o.requests, Log: log}).Run},
		{Name: "kube-apiserver-serving-clustertrustbundle-publisher", Run: (&trustbundle.Controller{
			Bundles: i.trustBundles, Store: o.trustBundles, CA: s.rootCA, Log: log,
		}).Run},
	}
	if len(signers) == 0 {
		log.Warn("no CA signs requests for certificates: give --cluster-signing-cert-file and --cluster-signing-key-file if one shall")
		return named
	}
	s.warnOfStrangers(signers)
	return append(named, controller.Named{Name: "csrsigning", Run: (&csrsigning.Controller{
		Requests: i.requests, Status: o.requestStatus, Signers: signers,
		Held: s.heldCertificate, Judge: s.revoked.Judge, Follow: s.followRevocations, Claim: s.claimKey,
		Record: s.recordSigned, Count: s.metrics.CertificateRequests(), Log: log,
	}).Run})
}

// recognizers say which requests need no person.
func (s *Server) recognizers(signers []*signing.Signer) []csrapproving.Recognizer {
	renew, approve := map[string]*signing.Signer{}, map[string]*signing.Signer{}
	for _, signer := range signers {
		if signer.Renewable > 0 {
			renew[signer.Name] = signer
		}
		for _, own := range s.cfg.Certificates.Signers {
			if own.AutoApprove && own.Name == signer.Name {
				approve[signer.Name] = signer
			}
		}
	}
	return append(csrapproving.Kubelets(s.authorizer),
		csrapproving.Renewals{Signers: renew, Issued: s.heldCertificate, Log: s.log},
		csrapproving.Own{Signers: approve, Authorizer: s.authorizer, Issued: s.heldCertificate})
}

// recordSigned writes down a certificate that was signed for a request.
func (s *Server) recordSigned(ctx context.Context, issued *csrsigning.Issued) error {
	spec := &issued.Request.Spec
	e := register.OfCertificate(issued.Certificate, issued.Authority, time.Now())
	e.Signer, e.Renewable = spec.SignerName, &register.Renewable{First: issued.Since.Unix(), Holder: issued.Holder, Through: issued.Through}
	if from := issued.Parent; from != nil {
		e.Parent, e.First = from.Name, from.First
	}
	e.Asker = register.AskerOf(signing.Asker(issued.Request), "")
	if e.User == "" {
		e.User = holderOf(issued.Certificate)
	}
	return s.register.Record(ctx, e)
}

// holderOf says who has a certificate without a common name: what else is in its
// subject, or the first of its other names.
func holderOf(cert *x509.Certificate) string {
	names := append([]string{cert.Subject.String()}, cert.DNSNames...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	names = append(append(names, cert.EmailAddresses...), "nobody")
	return names[slices.IndexFunc(names, func(name string) bool { return name != "" })]
}

// heldCertificate returns a certificate that was signed for a request, by the
// digest of what is signed of it, or nil.
func (s *Server) heldCertificate(ctx context.Context, digest string) (*signing.Held, error) {
	e, err := s.register.Find(ctx, register.NameOf(&identity.Credential{Method: identity.ClientCertificate, Digest: digest}))
	if err != nil || e == nil || e.Renewable == nil {
		return nil, err
	}
	serial, ok := crl.ParseSerial(e.Serial)
	if !ok {
		return nil, fmt.Errorf("the entry %s of the register has no serial number", e.Name())
	}
	return &signing.Held{
		Name: e.Name(), First: cmp.Or(e.First, e.Name()), Serial: serial, Signer: e.Signer, Expires: e.Expires, User: e.User,
		Since: time.Unix(e.Renewable.First, 0), Holder: e.Renewable.Holder, Through: e.Renewable.Through,
	}, nil
}

// followRevocations returns when this process knows all that was revoked before
// the call. What is written by itself it knows before that is answered.
func (s *Server) followRevocations(ctx context.Context) error {
	if s.embedded != nil {
		return nil
	}
	return s.proveView(ctx)
}

// claimKey has a key belong to a subject until a time.
func (s *Server) claimKey(ctx context.Context, key, subject string, until time.Time) (bool, error) {
	return s.keys.Claim(ctx, ledger.Row{Name: key, Ends: until, Value: []byte(subject)}, time.Now())
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
