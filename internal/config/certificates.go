package config

import "time"

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
}
