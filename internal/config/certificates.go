package config

import (
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
	"gatehouse.dev/gatehouse/internal/signing"
)

// Certificates is who signs requests for certificates, the approved
// CertificateSigningRequests, and for how long. Without files, the CA of the
// data folder signs for every signer of Kubernetes.
type Certificates struct {
	// The file with the certificate of the CA, in PEM form, that signs for every
	// signer of Kubernetes. It is read for each signing. May not be given
	// together with the file of a single signer.
	// Default: none.
	CertFile string `json:"certFile" flag:"cluster-signing-cert-file" path:"read"`
	// The file with the private key of that CA in PEM form.
	// Default: none.
	KeyFile string `json:"keyFile" flag:"cluster-signing-key-file" path:"read"`
	// How long certificates live, and the most that a request may ask for: at
	// least 10m.
	// Default: 720h0m0s.
	Duration Duration `json:"duration" flag:"cluster-signing-duration"`
	// The file with the certificate of the CA that signs for
	// kubernetes.io/kubelet-serving.
	// Default: none.
	KubeletServingCertFile string `json:"kubeletServingCertFile" flag:"cluster-signing-kubelet-serving-cert-file" path:"read"`
	// The file with the private key of that CA.
	// Default: none.
	KubeletServingKeyFile string `json:"kubeletServingKeyFile" flag:"cluster-signing-kubelet-serving-key-file" path:"read"`
	// The file with the certificate of the CA that signs for
	// kubernetes.io/kube-apiserver-client-kubelet.
	// Default: none.
	KubeletClientCertFile string `json:"kubeletClientCertFile" flag:"cluster-signing-kubelet-client-cert-file" path:"read"`
	// The file with the private key of that CA.
	// Default: none.
	KubeletClientKeyFile string `json:"kubeletClientKeyFile" flag:"cluster-signing-kubelet-client-key-file" path:"read"`
	// The file with the certificate of the CA that signs for
	// kubernetes.io/kube-apiserver-client.
	// Default: none.
	KubeAPIServerClientCertFile string `json:"kubeAPIServerClientCertFile" flag:"cluster-signing-kube-apiserver-client-cert-file" path:"read"`
	// The file with the private key of that CA.
	// Default: none.
	KubeAPIServerClientKeyFile string `json:"kubeAPIServerClientKeyFile" flag:"cluster-signing-kube-apiserver-client-key-file" path:"read"`
	// The file with the certificate of the CA that signs for
	// kubernetes.io/legacy-unknown.
	// Default: none.
	LegacyUnknownCertFile string `json:"legacyUnknownCertFile" flag:"cluster-signing-legacy-unknown-cert-file" path:"read"`
	// The file with the private key of that CA.
	// Default: none.
	LegacyUnknownKeyFile string `json:"legacyUnknownKeyFile" flag:"cluster-signing-legacy-unknown-key-file" path:"read"`
	// For how long after its approval a certificate of
	// kubernetes.io/kube-apiserver-client may be renewed by its holder without
	// another approval. 0s is never, as in Kubernetes.
	// Default: 0s.
	ClientRenewableFor Duration `json:"clientRenewableFor" flag:"cluster-signing-kube-apiserver-client-renewable-for"`
	// Signers of one's own, each by name, such as example.com/workload; what it
	// signs: commonNames, organizations, dnsNames, emailAddresses, uris,
	// ipAddresses and usages; which keys; duration, renewableFor and autoApprove;
	// and certFile and keyFile of its CA. docs/certificates.md says what each of
	// them means.
	// Default: none.
	Signers []Signer `json:"signers" path:"read"`
}

// A Signer is a signer of one's own.
type Signer struct {
	// The name, such as example.com/workload. The domain kubernetes.io is taken.
	Name string `json:"name"`
	// The common names that it signs, as templates such as "${username}".
	CommonNames []string `json:"commonNames"`
	// The organizations, as templates. Without it, none.
	Organizations []string `json:"organizations,omitempty"`
	// The DNS names, as templates. Without it, none.
	DNSNames []string `json:"dnsNames,omitempty"`
	// The email addresses, as templates. Without it, none.
	EmailAddresses []string `json:"emailAddresses,omitempty"`
	// The URIs, as templates. Without it, none.
	URIs []string `json:"uris,omitempty"`
	// The IP addresses and ranges, such as 10.0.0.0/8. Without it, none.
	IPAddresses []string `json:"ipAddresses,omitempty"`
	// The usages that may be asked for, such as "client auth".
	Usages []string `json:"usages"`
	// The kinds of keys, of RSA, ECDSA and Ed25519. Without it, all.
	Keys []string `json:"keys,omitempty"`
	// The least length of an RSA key in bits, if it is more than 2048.
	MinRSABits int `json:"minRSABits,omitempty"`
	// How long certificates live, and the most that a request may ask for.
	Duration Duration `json:"duration"`
	// For how long after its approval a certificate may be renewed by its holder
	// without another approval. Without it, never.
	RenewableFor Duration `json:"renewableFor,omitempty"`
	// Whether what keeps to these rules is approved without a person, if who asks
	// has the verb auto-approve on the signer.
	AutoApprove bool `json:"autoApprove,omitempty"`
	// The files of its CA in PEM form. Without them, the CA of the data folder.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
}

// Own returns the rules of the signer, not yet compiled.
func (s *Signer) Own() signing.Own {
	o := signing.Own{
		CommonNames: s.CommonNames, Organizations: s.Organizations, DNSNames: s.DNSNames, EmailAddresses: s.EmailAddresses,
		URIs: s.URIs, IPAddresses: s.IPAddresses, Keys: s.Keys, MinRSA: s.MinRSABits,
	}
	for _, usage := range s.Usages {
		o.Usages = append(o.Usages, certificatesv1.KeyUsage(usage))
	}
	return o
}

// minSigning is the shortest life that a request may ask for.
const minSigning = Duration(10 * time.Minute)

func defaultCertificates() Certificates { return Certificates{Duration: Duration(720 * time.Hour)} }

// certificates refuses halves of pairs, and more than one CA for a signer.
func (k *check) certificates() {
	c := &k.c.Certificates
	k.together(&c.CertFile, &c.KeyFile)
	single := [][2]*string{
		{&c.KubeletServingCertFile, &c.KubeletServingKeyFile}, {&c.KubeletClientCertFile, &c.KubeletClientKeyFile},
		{&c.KubeAPIServerClientCertFile, &c.KubeAPIServerClientKeyFile}, {&c.LegacyUnknownCertFile, &c.LegacyUnknownKeyFile},
	}
	for _, pair := range single {
		k.together(pair[0], pair[1])
		if *pair[0] != "" && c.CertFile != "" {
			k.refuse(pair[0], "give one CA for all signers, or one for each", "is given together with %s", k.name(&c.CertFile))
		}
	}
	if c.Duration < minSigning {
		k.refuse(&c.Duration, "choose at least "+minSigning.String(), "%s is less than what a request may ask for", c.Duration)
	}
	if c.ClientRenewableFor != 0 && c.ClientRenewableFor < c.Duration {
		k.refuse(&c.ClientRenewableFor, "choose more, or 0s", "%s is less than %s, for which each certificate lives", c.ClientRenewableFor, k.name(&c.Duration))
	}
	k.signers(&c.Signers)
}

// signers refuses signers of one's own that sign nothing, too much, or for
// somebody else's name.
func (k *check) signers(all *[]Signer) {
	seen := map[string]bool{}
	for i := range *all {
		s := &(*all)[i]
		refuse := func(mend, format string, args ...any) {
			k.refuse(all, mend, fmt.Sprintf("entry %d (%s): ", i+1, s.Name)+format, args...)
		}
		if errs := certificates.ValidateSignerName(s.Name, field.NewPath("name")); len(errs) > 0 {
			refuse("name it as example.com/workload", "%v", errs[0])
		}
		domain, _, _ := strings.Cut(s.Name, "/")
		switch {
		case domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io"):
			refuse("choose a domain of your own", "name: the domain is Kubernetes'")
		case seen[s.Name]:
			refuse("make one entry of them", "name: an earlier entry has it too")
		}
		seen[s.Name] = true
		if _, mistakes := s.Own().Compile(); len(mistakes) > 0 {
			for _, m := range mistakes {
				refuse("correct it; docs/certificates.md has an example", "%v", m)
			}
		}
		if s.Duration < minSigning {
			refuse("choose at least "+minSigning.String(), "duration: %s is less than what a request may ask for", s.Duration)
		}
		if s.RenewableFor != 0 && s.RenewableFor < s.Duration {
			refuse("choose more, or leave it out", "renewableFor: %s is less than the duration, for which each certificate lives", s.RenewableFor)
		}
		if (s.CertFile == "") != (s.KeyFile == "") {
			refuse("set both, or neither", "certFile and keyFile: one is given without the other")
		}
	}
}
