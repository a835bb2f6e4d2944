package signing

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
)

// LegacyUnknown is the name that v1beta1 gave to requests without a signer.
const LegacyUnknown = "kubernetes.io/legacy-unknown"

const (
	nodesGroup = "system:nodes"
	nodePrefix = "system:node:"
)

// Upstream's words (pkg/apis/certificates/helpers.go).
var (
	errNoNode  = errors.New("subject common name does not begin with system:node:")
	errNoGroup = errors.New("subject organization is not system:nodes")
	errNoHost  = errors.New("DNS or IP subjectAltName is required")
	errDNS     = errors.New("DNS subjectAltNames are not allowed")
	errEmail   = errors.New("Email subjectAltNames are not allowed")
	errIP      = errors.New("IP subjectAltNames are not allowed")
	errURI     = errors.New("URI subjectAltNames are not allowed")
)

// A Kubernetes rule is that of one of the four signers of Kubernetes.
type Kubernetes func(r *Request) error

// Check implements [Rules].
func (k Kubernetes) Check(r *Request) error { return k(r) }

// KubernetesRules returns the rules of a signer of Kubernetes, if it is one.
func KubernetesRules(signer string) (Rules, bool) {
	switch signer {
	case certificatesv1.KubeAPIServerClientSignerName:
		return Kubernetes(clientUsages), true
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return Kubernetes(kubeletClient), true
	case certificatesv1.KubeletServingSignerName:
		return Kubernetes(kubeletServing), true
	case LegacyUnknown:
		return Kubernetes(func(*Request) error { return nil }), true
	}
	return nil, false
}

// clientUsages lets any subject be client: which one is approved is for who
// approves.
func clientUsages(r *Request) error {
	client := false
	for _, usage := range r.Usages {
		switch usage {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment:
		case certificatesv1.UsageClientAuth:
			client = true
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", usage)
		}
	}
	if !client {
		return fmt.Errorf("missing required usage for client certificate: %s", certificatesv1.UsageClientAuth)
	}
	return nil
}

// IsKubeletClient reports whether r asks for what a kubelet is client with.
func IsKubeletClient(r *Request) bool {
	return r.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName && kubeletClient(r) == nil
}

func kubeletClient(r *Request) error {
	asked := r.PKCS10
	switch {
	case !slices.Equal(asked.Subject.Organization, []string{nodesGroup}):
		return errNoGroup
	case len(asked.DNSNames) > 0:
		return errDNS
	case len(asked.EmailAddresses) > 0:
		return errEmail
	case len(asked.IPAddresses) > 0:
		return errIP
	case len(asked.URIs) > 0:
		return errURI
	case !strings.HasPrefix(asked.Subject.CommonName, nodePrefix):
		return errNoNode
	}
	return exactly(r.Usages, certificatesv1.UsageClientAuth)
}

func kubeletServing(r *Request) error {
	asked := r.PKCS10
	switch {
	case !slices.Equal(asked.Subject.Organization, []string{nodesGroup}):
		return errNoGroup
	case len(asked.DNSNames) == 0 && len(asked.IPAddresses) == 0:
		return errNoHost
	case len(asked.EmailAddresses) > 0:
		return errEmail
	case len(asked.URIs) > 0:
		return errURI
	}
	if err := exactly(r.Usages, certificatesv1.UsageServerAuth); err != nil {
		return err
	}
	if !strings.HasPrefix(asked.Subject.CommonName, nodePrefix) {
		return errNoNode
	}
	return nil
}

// exactly wants the usages of a kubelet: to sign, to be what use says and, for
// RSA, to encipher keys.
func exactly(usages []certificatesv1.KeyUsage, use certificatesv1.KeyUsage) error {
	got := slices.Sorted(slices.Values(usages))
	without := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, use}
	slices.Sort(without)
	all := slices.Clone(without)
	without = slices.DeleteFunc(without, func(u certificatesv1.KeyUsage) bool { return u == certificatesv1.UsageKeyEncipherment })
	if got = slices.Compact(got); !slices.Equal(got, all) && !slices.Equal(got, without) {
		return fmt.Errorf("usages did not match %v", all)
	}
	return nil
}
