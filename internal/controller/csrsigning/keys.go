package csrsigning

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"gatehouse.dev/gatehouse/internal/signing"
)

// byKey is the index from a public key to the requests whose certificate is for
// it.
const byKey = "gatehouse.dev/certified-key"

func indexKey(obj any) ([]string, error) {
	r, ok := obj.(*signingRequest)
	if !ok {
		return nil, nil
	}
	cert := certificateOf(r)
	if cert == nil {
		return nil, nil
	}
	id, err := signing.KeyID(cert.PublicKey)
	if err != nil {
		return nil, nil // a key of a kind that is never signed here
	}
	return []string{hex.EncodeToString(id[:])}, nil
}

// certificateOf returns the certificate in a request, or nil.
func certificateOf(r *signingRequest) *x509.Certificate {
	block, _ := pem.Decode(r.Status.Certificate)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// fresh refuses a key that a certificate in another request is for, as somebody
// else: who has the key could be either, and to take back one would leave him
// the other. It knows of as many as there are requests.
func (c *Controller) fresh(request *signing.Request, now time.Time) error {
	id, err := signing.KeyID(request.PKCS10.PublicKey)
	if err != nil {
		return nil // refused by the signer, with the reason
	}
	others, err := c.Requests.GetIndexer().ByIndex(byKey, hex.EncodeToString(id[:]))
	if err != nil {
		return err
	}
	for _, obj := range others {
		other, ok := obj.(*signingRequest)
		if !ok {
			continue
		}
		cert := certificateOf(other)
		if cert == nil || now.After(cert.NotAfter) || signing.SameSubject(cert, request.PKCS10) {
			continue
		}
		return signing.Refuse(errors.New("the key is already certified for another subject: make a new one"))
	}
	return nil
}
