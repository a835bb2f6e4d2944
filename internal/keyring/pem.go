package keyring

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// minRSABits is the least that RFC 7518 section 3.3 allows for RS256.
const minRSABits = 2048

// An entry is one key of a file.
type entry struct {
	private crypto.Signer // nil if the block had a public key
	key     Key
}

// parse returns the keys in data, the content of the file at path. The errors
// name the file and the block, and tell nothing of what is in it.
func parse(path string, data []byte) ([]entry, error) {
	var entries []entry
	blocks := 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		// OpenSSL's ecparam writes the name of the curve before the key.
		if block.Type == "EC PARAMETERS" {
			continue
		}
		e, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("%s: PEM block %d: %w", path, blocks, err)
		}
		entries = append(entries, e)
	}
	// The decoder skips blocks that are damaged.
	if begun := bytes.Count(data, []byte("-----BEGIN ")); begun != blocks {
		return nil, fmt.Errorf("%s: %d of %d PEM blocks cannot be read: copy the file again from where it was made", path, begun-blocks, begun)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no key: it must be in PEM form, private or public, RSA or ECDSA", path)
	}
	return entries, nil
}

// parseBlock returns the key in block, under the types that Kubernetes reads
// (client-go util/keyutil).
func parseBlock(block *pem.Block) (entry, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return entry{}, errors.New("the key is encrypted: decrypt it, for example with openssl pkey -in FILE -out NEWFILE")
	}
	read, known := readers()[block.Type]
	if !known {
		return entry{}, errors.New("its type is none of PRIVATE KEY, RSA PRIVATE KEY, EC PRIVATE KEY, PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE")
	}
	parsed, err := read(block.Bytes)
	if err != nil {
		// The cause is left out: it may quote what it stumbled over.
		return entry{}, fmt.Errorf("not a well-formed %s", block.Type)
	}
	var e entry
	public := parsed
	if private, ok := parsed.(crypto.Signer); ok {
		e.private, public = private, private.Public()
	}
	if key, ok := public.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
		return entry{}, fmt.Errorf("an RSA key of %d bits is too weak: it must have at least %d", key.N.BitLen(), minRSABits)
	}
	e.key, err = KeyOf(public)
	return e, err
}

// readers returns what reads each type of block.
func readers() map[string]func([]byte) (any, error) {
	return map[string]func([]byte) (any, error){
		"PRIVATE KEY":     x509.ParsePKCS8PrivateKey,
		"RSA PRIVATE KEY": func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		"EC PRIVATE KEY":  func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		"PUBLIC KEY":      x509.ParsePKIXPublicKey,
		"RSA PUBLIC KEY":  func(der []byte) (any, error) { return x509.ParsePKCS1PublicKey(der) },
		"CERTIFICATE": func(der []byte) (any, error) {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			return cert.PublicKey, nil
		},
	}
}
