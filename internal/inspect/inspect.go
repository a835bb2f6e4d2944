// Package inspect says what is in a credential, without judging it.
//
// It reads tokens and certificates on the machine where they are, sends them
// nowhere and verifies nothing: what it tells is what the credential says of
// itself. The one idea: nothing that it tells lets anybody in. The signature of
// a token, the secret half of a bootstrap token and the text of one that has no
// form are never told.
package inspect

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/pki"
)

// A Credential is what one says of itself.
type Credential struct {
	Kind      string   `json:"kind"`
	Issuer    string   `json:"issuer,omitempty"`
	Subject   string   `json:"subject,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Audiences []string `json:"audiences,omitempty"`
	// BoundTo is what a service account token rests on.
	BoundTo   []string   `json:"boundTo,omitempty"`
	IssuedAt  *time.Time `json:"issuedAt,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Algorithm string     `json:"algorithm,omitempty"`
	KeyID     string     `json:"keyID,omitempty"`
	// CredentialID is what audit events call it.
	CredentialID string   `json:"credentialID,omitempty"`
	Usages       []string `json:"usages,omitempty"`
	// Claims are the names of all claims.
	Claims []string `json:"claims,omitempty"`
	// Flaws are why it would be refused unseen.
	Flaws []string `json:"flaws,omitempty"`
	// Source is who would take it, by the configuration, if that is known.
	Source string `json:"source,omitempty"`

	certificate *x509.Certificate
	others      []*x509.Certificate
}

// Kinds of credentials.
const (
	kindCertificate = "client certificate"
	kindJWT         = "JWT"
	kindAccount     = "service account token"
	kindLegacy      = "legacy service account token"
	kindBootstrap   = "bootstrap token"
	kindOpaque      = "token without a form"

	legacyIssuer = "kubernetes/serviceaccount"
)

// Read returns what a credential says: a certificate in PEM, or one token with
// nothing but line breaks behind it. Errors repeat nothing of it.
func Read(text []byte) (*Credential, error) {
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return readCertificate(text)
	}
	token := strings.TrimRight(string(text), "\r\n")
	switch {
	case token == "":
		return nil, errors.New("there is nothing in it")
	case strings.ContainsAny(token, " \t\r\n\x00"):
		return nil, errors.New("it is no token: there is white space in it")
	case bootstrapForm().MatchString(token):
		id, _, _ := strings.Cut(token, ".")
		return &Credential{Kind: kindBootstrap, Subject: "system:bootstrap:" + id, BoundTo: []string{"secrets kube-system/bootstrap-token-" + id}}, nil
	case strings.Count(token, ".") == 2:
		if c := readToken(token); c != nil {
			return c, nil
		}
	}
	return &Credential{Kind: kindOpaque}, nil
}

func bootstrapForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`) }

// readToken returns what a JWT says, or nil if it is none.
func readToken(token string) *Credential {
	parts := strings.Split(token, ".")
	header, err1 := object(parts[0])
	claims, err2 := object(parts[1])
	if err1 != nil || err2 != nil {
		return nil
	}
	c := &Credential{Kind: kindJWT}
	if _, err := compact.Parse(token); err != nil {
		c.flaw(err)
	}
	c.Algorithm, _ = header.String("alg")
	c.KeyID, _ = header.String("kid")
	c.Issuer, c.Subject = c.text(claims, "iss"), c.text(claims, "sub")
	var err error
	if c.Audiences, err = claims.Strings("aud"); err != nil {
		c.flaw(err)
	}
	c.IssuedAt, c.NotBefore, c.Expires = c.time(claims, "iat"), c.time(claims, "nbf"), c.time(claims, "exp")
	if id := c.text(claims, "jti"); id != "" {
		c.CredentialID = "JTI=" + id
	}
	for name := range claims.All() {
		c.Claims = append(c.Claims, name)
	}
	switch {
	case claims.Has("kubernetes.io"):
		c.Kind = kindAccount
		c.readBindings(claims)
	case c.Issuer == legacyIssuer:
		c.Kind = kindLegacy
		namespace, secret := c.text(claims, "kubernetes.io/serviceaccount/namespace"), c.text(claims, "kubernetes.io/serviceaccount/secret.name")
		c.BoundTo = []string{"secrets " + namespace + "/" + secret}
		c.CredentialID = "SECRET=" + namespace + "/" + secret
	}
	return c
}

// object reads a part of a token, as leniently as can be.
func object(part string) (compact.Object, error) {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	if err != nil {
		return compact.Object{}, err
	}
	return compact.ParseObject(text)
}

func (c *Credential) flaw(err error) { c.Flaws = append(c.Flaws, err.Error()) }

func (c *Credential) text(o compact.Object, name string) string {
	text, err := o.String(name)
	if err != nil {
		c.flaw(fmt.Errorf("claim %w", err))
	}
	return text
}

func (c *Credential) time(o compact.Object, name string) *time.Time {
	at, err := o.Time(name)
	if err != nil {
		c.flaw(fmt.Errorf("claim %w", err))
	}
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// readBindings reads what a bound token rests on.
func (c *Credential) readBindings(claims compact.Object) {
	private, err := claims.Object("kubernetes.io")
	if err != nil {
		c.flaw(fmt.Errorf("claim %w", err))
		return
	}
	namespace := c.text(private, "namespace")
	for _, kind := range []string{"serviceaccount", "secret", "pod", "node"} {
		if !private.Has(kind) {
			continue
		}
		to, err := private.Object(kind)
		if err != nil {
			c.flaw(fmt.Errorf("claim %w", err))
			continue
		}
		in := namespace + "/"
		if kind == "node" {
			in = ""
		}
		c.BoundTo = append(c.BoundTo, fmt.Sprintf("%ss %s%s, UID %s", kind, in, c.text(to, "name"), c.text(to, "uid")))
	}
}

func readCertificate(text []byte) (*Credential, error) {
	certs, err := pki.ParseCertificates(text)
	if err != nil {
		return nil, err
	}
	leaf := certs[0]
	sum := sha256.Sum256(leaf.Raw)
	begin, end := leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	c := &Credential{
		Kind: kindCertificate, Issuer: leaf.Issuer.String(), Subject: leaf.Subject.CommonName, Groups: leaf.Subject.Organization,
		NotBefore: &begin, Expires: &end, Algorithm: leaf.SignatureAlgorithm.String(), KeyID: hex.EncodeToString(leaf.AuthorityKeyId),
		CredentialID: "X509SHA256=" + hex.EncodeToString(sum[:]), certificate: leaf, others: certs[1:],
	}
	for _, u := range leaf.ExtKeyUsage {
		c.Usages = append(c.Usages, u.String())
	}
	if leaf.IsCA {
		c.Flaws = append(c.Flaws, "it is a CA certificate, which no client may show")
	}
	if c.Subject == "" {
		c.Flaws = append(c.Flaws, "it has no common name, so it names no user")
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		c.Flaws = append(c.Flaws, "it is not for client authentication")
	}
	return c, nil
}

// Sources are who takes credentials.
type Sources struct {
	// Accounts are the issuers of service account tokens, and JWT those of
	// others.
	Accounts, JWT []string
	// Bootstrap is set if bootstrap tokens are taken.
	Bootstrap bool
	// Opaque are the settings of those who take tokens of any form, such as
	// "--token-auth-file tokens.csv".
	Opaque []string
	// Authorities are the files of CA certificates of clients.
	Authorities []string
}

// Find says which of the sources would take c, and sets c.Source.
func (s *Sources) Find(c *Credential) error {
	switch {
	case c.certificate != nil:
		return s.findAuthority(c)
	case c.Kind == kindBootstrap && s.Bootstrap:
		c.Source = "--enable-bootstrap-token-auth, if there is such a Secret"
	case c.Kind == kindLegacy:
		c.Source = "legacy service account tokens"
	case c.Issuer != "" && slices.Contains(s.Accounts, c.Issuer):
		c.Source = "--service-account-issuer " + c.Issuer
	case c.Issuer != "" && slices.Contains(s.JWT, c.Issuer):
		c.Source = "JWT issuer " + c.Issuer
	case len(s.Opaque) > 0:
		c.Source = "perhaps " + strings.Join(s.Opaque, " or ") + "; nobody else knows it"
	default:
		c.Source = "none: nobody who is configured takes it"
	}
	return nil
}

// findAuthority looks for the CA that a certificate chains to.
func (s *Sources) findAuthority(c *Credential) error {
	intermediates := x509.NewCertPool()
	for _, other := range c.others {
		intermediates.AddCert(other)
	}
	for _, file := range s.Authorities {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading CA certificates: %w", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		_, err = c.certificate.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			// Whether it is in time is told apart from who has issued it.
			CurrentTime: c.certificate.NotAfter.Add(-time.Second),
		})
		if err == nil {
			c.Source = "the CA in " + file
			return nil
		}
	}
	c.Source = "none: no CA that is configured has issued it"
	return nil
}
