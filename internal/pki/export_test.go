package pki

import "crypto/tls"

// What the tests have to reach without files.
var (
	Compare   = compare
	ParsePair = func(cert, key []byte) (*tls.Certificate, error) { return parsePair("c", cert, "k", key) }
)
