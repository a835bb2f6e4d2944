// Package identity has the words for who is calling: an [Identity], and the
// [Credential] that proved it.
//
// An Identity is built once, by the authenticator that verified the credential,
// and never changed afterwards: it is shared between requests, caches and audit
// events by pointer. Whoever needs another one makes a copy.
//
// The package decides nothing and imports only the standard library, so that
// every other package, and every Go API server, can speak of callers.
package identity

import (
	"strings"
	"time"
)

// Names and groups that Kubernetes reserves (k8s.io/apiserver
// pkg/authentication/user).
const (
	// Anonymous is the name of a caller who presented no credential.
	Anonymous = "system:anonymous"
	// GroupUnauthenticated is the group of [Anonymous].
	GroupUnauthenticated = "system:unauthenticated"
	// GroupAuthenticated is a group of every caller who presented a credential.
	GroupAuthenticated = "system:authenticated"
	// GroupMasters may do everything, and RBAC cannot take that back.
	GroupMasters = "system:masters"
	// GroupServiceAccounts is a group of every service account.
	GroupServiceAccounts = "system:serviceaccounts"
	// ServiceAccountPrefix begins the name of every service account, and is
	// followed by its namespace, a colon, and its name.
	ServiceAccountPrefix = "system:serviceaccount:"
	// ServiceAccountGroupPrefix begins the group of all service accounts of one
	// namespace, and is followed by the namespace.
	ServiceAccountGroupPrefix = "system:serviceaccounts:"
	// GroupNodes is a group of every node.
	GroupNodes = "system:nodes"
	// NodePrefix begins the name of every node, and is followed by its name.
	NodePrefix = "system:node:"
)

// Keys of [Identity.Extra] that Kubernetes' own authenticators set.
const (
	CredentialIDKey = "authentication.kubernetes.io/credential-id"
	PodNameKey      = "authentication.kubernetes.io/pod-name"
	PodUIDKey       = "authentication.kubernetes.io/pod-uid"
	NodeNameKey     = "authentication.kubernetes.io/node-name"
	NodeUIDKey      = "authentication.kubernetes.io/node-uid"
)

// A Method is a kind of credential, as audit events and metrics name it.
type Method string

// All methods.
const (
	ClientCertificate    Method = "X509"
	StaticToken          Method = "StaticToken"
	Password             Method = "Password"
	ServiceAccount       Method = "ServiceAccount"
	LegacyServiceAccount Method = "LegacyServiceAccount"
	BootstrapToken       Method = "BootstrapToken"
	JWT                  Method = "JWT"
	// Webhook is a token that a webhook was asked about.
	Webhook Method = "Webhook"
	// FrontProxy is an authenticating proxy's word for who is calling. The
	// credential is the proxy's certificate.
	FrontProxy      Method = "FrontProxy"
	Unauthenticated Method = "Anonymous"
	// Internal is the server acting on itself. No credential ever proves it.
	Internal Method = "Internal"
)

// A Credential is what proved an [Identity], as far as it may be told: it never
// holds a secret, nor anything that a secret could be computed from.
type Credential struct {
	Method Method
	// Issuer is who vouches: the iss of a token, or "X509SHA256=" and the hash
	// of the CA certificate that a client certificate chains to. Empty where
	// there is none.
	Issuer string
	// ID names this one credential among those of its issuer, in the form that
	// Kubernetes gives it in [CredentialIDKey]: "JTI=..." or "X509SHA256=...".
	// A static credential has the name of its line, as "NAME=..." or "USER=...",
	// or a keyed digest, as "TOKEN=..."; a bootstrap token "TOKENID=..." and the
	// part of it that is no secret.
	ID string
	// IssuerName and Serial name a certificate as its issuer does: the subject of
	// the issuer in the form of RFC 2253, and the serial number in lower-case
	// hexadecimal without leading zeros. Another certificate of the same number
	// may be of another CA with that name.
	IssuerName, Serial string
	// Digest is the SHA-256, in lower-case hexadecimal, of what the signature of
	// a credential covers: of the TBSCertificate of a certificate, of header and
	// payload of a token, with the point between them. It names the credential
	// whatever its issuer has done, and whatever somebody does to the bytes of
	// the signature. Empty where there is no signature.
	Digest string
	// KeyID names the key that made the signature: the kid of a token's key or,
	// for a certificate and a key without one, the unpadded base64url of the
	// SHA-256 of the public key in PKIX form.
	KeyID string
	// Above is the certificate of the CA that issued a certificate, as a
	// credential, and so on to one that is trusted for itself. What is taken
	// back of it takes back what is below. Nil for everything but a certificate.
	Above *Credential
	// Beside is the token that some of the claims of a token were in, which were
	// kept elsewhere. What is taken back of it takes back what rests on both. Nil
	// where all was in one.
	Beside *Credential
	// IssuedAt and ExpiresAt are zero where the credential does not tell.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// An Identity is who is calling. It satisfies the interface user.Info of
// k8s.io/apiserver. It must not be changed once it has been handed on.
type Identity struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
	// Credential is what proved the identity. Where there is an Impersonator, it
	// is his.
	Credential Credential
	// Impersonator is who acts as this identity because he may, or nil. What
	// ends with a user ends with either of the two.
	Impersonator *Identity
}

// GetName returns the name.
func (i *Identity) GetName() string { return i.Name }

// GetUID returns the UID, or "".
func (i *Identity) GetUID() string { return i.UID }

// GetGroups returns the groups. The caller must not change them.
func (i *Identity) GetGroups() []string { return i.Groups }

// GetExtra returns the extra attributes. The caller must not change them.
func (i *Identity) GetExtra() map[string][]string { return i.Extra }

// InGroup reports whether the identity is a member of group.
func (i *Identity) InGroup(group string) bool {
	for _, g := range i.Groups {
		if g == group {
			return true
		}
	}
	return false
}

// Node returns the name of the node that the identity is, and whether it is one:
// a member of [GroupNodes] whose name begins with [NodePrefix]. The name may be
// empty; then it is a node that nobody can tell from another.
func (i *Identity) Node() (name string, ok bool) {
	if i == nil || !strings.HasPrefix(i.Name, NodePrefix) || !i.InGroup(GroupNodes) {
		return "", false
	}
	return i.Name[len(NodePrefix):], true
}

// WithAuthenticated returns the groups of the caller called name with
// [GroupAuthenticated] appended, unless the name is [Anonymous] or the groups
// already say whether the caller is authenticated, as Kubernetes'
// AuthenticatedGroupAdder does. It never changes the array behind groups.
func WithAuthenticated(name string, groups []string) []string {
	if name == Anonymous {
		return groups
	}
	for _, g := range groups {
		if g == GroupAuthenticated || g == GroupUnauthenticated {
			return groups
		}
	}
	out := make([]string, 0, len(groups)+1)
	return append(append(out, groups...), GroupAuthenticated)
}
