package durability_test

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
)

// twinOfToken rewrites the signature of an ES256 token, or returns "".
func twinOfToken(token string) string {
	at := strings.LastIndexByte(token, '.')
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if at < 0 || err != nil || !strings.Contains(string(text), `"ES256"`) {
		return ""
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || len(signature) != 64 {
		return ""
	}
	otherForm(new(big.Int).SetBytes(signature[32:])).FillBytes(signature[32:])
	return token[:at+1] + base64.RawURLEncoding.EncodeToString(signature)
}

// twinOfCertificate rewrites the signature of a certificate.
func twinOfCertificate(t *testing.T, der []byte) []byte {
	t.Helper()
	var cert struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		t.Fatal(err)
	}
	var numbers struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(cert.Signature.Bytes, &numbers); err != nil {
		t.Fatal(err)
	}
	numbers.S = otherForm(numbers.S)
	signature, err := asn1.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	cert.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	twin, err := asn1.Marshal(cert)
	if err != nil {
		t.Fatal(err)
	}
	return twin
}

// otherForm returns n - s.
func otherForm(s *big.Int) *big.Int { return new(big.Int).Sub(elliptic.P256().Params().N, s) }
