package issuing

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/internal/pki"
)

// Administrators is the group of those who may do everything in this server. It
// is bound to a role like any other, so that, unlike system:masters, it can be
// taken back.
const Administrators = "gatehouse:admins"

const (
	minCertificateLifetime = 10 * time.Minute
	// maxCertificateLifetime is kube-controller-manager's default
	// --cluster-signing-duration: revocation has to remember a certificate for
	// as long as it lives.
	maxCertificateLifetime = 365 * 24 * time.Hour
	// maxCommonName is ub-common-name of RFC 5280 appendix A.1, in characters.
	maxCommonName = 64
)

// A ClientIssuer issues client certificates.
type ClientIssuer interface {
	IssueClient(pki.Client) (*pki.ClientCertificate, error)
}

// Administrator issues a client certificate of the administrator called name.
// The lifetime is from 10 minutes to a year. Names that Kubernetes reserves are
// refused: an administrator must be told from a part of a cluster.
func Administrator(issuer ClientIssuer, name string, lifetime time.Duration) (*pki.ClientCertificate, error) {
	switch {
	case name == "":
		return nil, errors.New("an administrator must have a name")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return nil, fmt.Errorf("the name %q has characters that cannot be seen", name)
	case utf8.RuneCountInString(name) > maxCommonName:
		return nil, fmt.Errorf("the name has more than %d characters", maxCommonName)
	case strings.HasPrefix(name, "system:"):
		return nil, fmt.Errorf("the name %q is reserved for parts of Kubernetes: choose one that does not begin with system:", name)
	}
	if err := checkLifetime(lifetime); err != nil {
		return nil, err
	}
	return issuer.IssueClient(pki.Client{CommonName: name, Groups: []string{Administrators}, Lifetime: lifetime})
}

func checkLifetime(lifetime time.Duration) error {
	if lifetime < minCertificateLifetime || lifetime > maxCertificateLifetime {
		return fmt.Errorf("a certificate cannot live for %v: choose from %v to %v", lifetime, minCertificateLifetime, maxCertificateLifetime)
	}
	return nil
}
