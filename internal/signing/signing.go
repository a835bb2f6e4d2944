// Package signing decides what becomes of an approved CertificateSigningRequest:
// the certificate that is signed for it, or why none is.
//
// It decides as the signers of kube-controller-manager v1.37 do
// (pkg/controller/certificates/signer and authority), with the same messages.
// The one idea beyond that: what was signed is read back and compared with what
// was approved, field by field, before it leaves, so that no mistake in between
// can make a certificate that nobody agreed to.
//
// Refused by name are keys that prove nothing (package weakkey), the keys of our
// own authorities, a subject that is not the one that would be signed, and
// whatever the rules of the signer do not allow. Nothing here reads the store or
// the network: the authority and what is known of other keys are handed in.
package signing

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/pki/weakkey"
)

const (
	// minLifetime is what a request that asks for less gets.
	minLifetime = 10 * time.Minute
	// short is the lifetime from which on the five minutes by which a
	// certificate begins early are taken off its end.
	short = 8 * time.Hour
)

// A Refusal is why a request will never be signed as it is. It is told to who
// asked, as the condition Failed.
type Refusal struct{ cause error }

// Error returns the cause, in upstream's words where upstream refuses the same.
func (r *Refusal) Error() string { return r.cause.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.cause }

// An Authority signs.
type Authority interface {
	Certificate() *x509.Certificate
	Issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error)
}

// A Request is a CertificateSigningRequest that was read.
type Request struct {
	SignerName string
	Usages     []certificatesv1.KeyUsage
	// Lifetime is what was asked for, or 0.
	Lifetime time.Duration
	// PKCS10 is what is asked to be certified. Its signature proves that who
	// asks has the key.
	PKCS10 *x509.CertificateRequest
	// Requester is who asks.
	Requester Requester
}

// A Requester is who asks, as the front door knows him.
type Requester struct {
	Username, UID string
	Groups        []string
}

// Read reads the request of an object. An error is a [Refusal].
func Read(r *certificatesv1.CertificateSigningRequest) (*Request, error) {
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, refuse("PEM block type must be CERTIFICATE REQUEST")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, &Refusal{err}
	}
	// The API has checked it when the object was made, in this or in another
	// version of this server.
	if err := parsed.CheckSignature(); err != nil {
		return nil, &Refusal{err}
	}
	out := &Request{
		SignerName: r.Spec.SignerName, Usages: r.Spec.Usages, PKCS10: parsed,
		Requester: Requester{Username: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups},
	}
	if s := r.Spec.ExpirationSeconds; s != nil {
		out.Lifetime = time.Duration(*s) * time.Second
	}
	return out, nil
}

// A Signer signs the requests of one name.
type Signer struct {
	Name string
	// Lifetime is how long its certificates live, and the most that a request
	// may ask for.
	Lifetime time.Duration
	// Renewable is how long after the first one was signed a certificate may be
	// renewed by its holder, without another approval, and the latest that its
	// renewals end; 0 is never.
	Renewable time.Duration
	// Rules say what it may sign.
	Rules Rules
	// Authority returns what signs now, which changes when its files do.
	Authority func() (Authority, error)
	// Reserved are the keys that no certificate may be for, by [KeyID]: those of
	// authorities and of this server itself.
	Reserved func() map[[sha256.Size]byte]string
}

// Rules say what a signer may sign. The error is why it may not.
type Rules interface {
	Check(r *Request) error
}

// Check returns a [Refusal] if the signer will not sign r, whoever approves it.
func (s *Signer) Check(r *Request) error {
	if err := s.Rules.Check(r); err != nil {
		return &Refusal{err}
	}
	if err := weakkey.Check(r.PKCS10.PublicKey); err != nil {
		return &Refusal{err}
	}
	id, err := KeyID(r.PKCS10.PublicKey)
	if err != nil {
		return &Refusal{err}
	}
	if whose, ok := s.Reserved()[id]; ok {
		return refuse("the key is that of %s: make a new one", whose)
	}
	if _, err := subject(r.PKCS10.Subject); err != nil {
		return &Refusal{err}
	}
	if _, _, err := usages(r.Usages); err != nil {
		return &Refusal{err}
	}
	return nil
}

// Terms are what a certificate has besides what its request asks for. Zero is
// nothing.
type Terms struct {
	// Latest is when it ends at the latest.
	Latest time.Time
	// Serial is its serial number.
	Serial *big.Int
}

// Sign returns the certificate for an approved request, and that of who signed
// it.
func (s *Signer) Sign(r *Request, now time.Time, terms Terms) (cert, issuer *x509.Certificate, err error) {
	if err := s.Check(r); err != nil {
		return nil, nil, err
	}
	authority, err := s.Authority()
	if err != nil {
		return nil, nil, err
	}
	issuer = authority.Certificate()
	if !now.Before(issuer.NotAfter) {
		return nil, nil, fmt.Errorf("the signer has expired: NotAfter=%v", issuer.NotAfter)
	}
	template, err := s.template(r, now)
	if err != nil {
		return nil, nil, err
	}
	if latest := terms.Latest; !latest.IsZero() && template.NotAfter.After(latest) {
		template.NotAfter = latest
	}
	template.SerialNumber = terms.Serial
	if cert, err = authority.Issue(template, r.PKCS10.PublicKey); err != nil {
		return nil, nil, err
	}
	if err := approved(cert, r, bounds{now.Add(-pki.Backdate), template.NotAfter}); err != nil {
		return nil, nil, fmt.Errorf("internal error: what was signed is not what was approved: %w", err)
	}
	if want := terms.Serial; want != nil && cert.SerialNumber.Cmp(want) != 0 {
		return nil, nil, errors.New("internal error: what was signed is not of the chain that it renews")
	}
	return cert, issuer, nil
}

// template is what r asks for, as far as upstream's PermissiveSigningPolicy
// takes it over: no extension but the alternative names.
func (s *Signer) template(r *Request, now time.Time) (*x509.Certificate, error) {
	name, err := subject(r.PKCS10.Subject)
	if err != nil {
		return nil, &Refusal{err}
	}
	key, extended, err := usages(r.Usages)
	if err != nil {
		return nil, &Refusal{err}
	}
	lifetime := s.lifetime(r.Lifetime)
	end := now.Add(lifetime)
	if lifetime >= short {
		end = end.Add(-pki.Backdate)
	}
	return &x509.Certificate{
		Subject:        name,
		DNSNames:       r.PKCS10.DNSNames,
		IPAddresses:    r.PKCS10.IPAddresses,
		EmailAddresses: r.PKCS10.EmailAddresses,
		URIs:           r.PKCS10.URIs,
		NotBefore:      now.Add(-pki.Backdate),
		NotAfter:       end,
		KeyUsage:       key,
		ExtKeyUsage:    extended,
	}, nil
}

// lifetime is how long a certificate lives that was asked for so long.
func (s *Signer) lifetime(asked time.Duration) time.Duration {
	switch {
	case asked == 0 || asked > s.Lifetime:
		return s.Lifetime
	case asked < minLifetime:
		return minLifetime
	}
	return asked
}

// subject returns the attributes of a subject that are signed. Those that
// crypto/x509 has no field for are left out, as upstream leaves them out. Two
// values where there can be one are refused: which of them was approved?
func subject(asked pkix.Name) (pkix.Name, error) {
	if counted := len(values(asked, "2.5.4.3")); counted > 1 {
		return pkix.Name{}, fmt.Errorf("the subject has %d common names: ask for one", counted)
	}
	if counted := len(values(asked, "2.5.4.5")); counted > 1 {
		return pkix.Name{}, fmt.Errorf("the subject has %d serial numbers: ask for one", counted)
	}
	for _, a := range asked.Names {
		text, ok := a.Value.(string)
		if !ok {
			return pkix.Name{}, fmt.Errorf("the attribute %s of the subject is no text", a.Type)
		}
		if slices.ContainsFunc([]byte(text), func(b byte) bool { return b < ' ' || b == 0x7f }) {
			return pkix.Name{}, fmt.Errorf("the attribute %s of the subject has a control character in it", a.Type)
		}
	}
	return pkix.Name{
		Country: asked.Country, Organization: asked.Organization, OrganizationalUnit: asked.OrganizationalUnit,
		Locality: asked.Locality, Province: asked.Province, StreetAddress: asked.StreetAddress, PostalCode: asked.PostalCode,
		SerialNumber: asked.SerialNumber, CommonName: asked.CommonName,
	}, nil
}

func values(name pkix.Name, attribute string) (all []any) {
	for _, a := range name.Names {
		if a.Type.String() == attribute {
			all = append(all, a.Value)
		}
	}
	return all
}

// KeyID names a public key: the SHA-256 of its PKIX form.
func KeyID(public crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return [sha256.Size]byte{}, errors.New("the key cannot be encoded")
	}
	return sha256.Sum256(der), nil
}

// Refuse returns a [Refusal] for a reason that was found elsewhere.
func Refuse(cause error) error { return &Refusal{cause} }

func refuse(format string, args ...any) error { return &Refusal{fmt.Errorf(format, args...)} }
