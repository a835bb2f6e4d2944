package externaljwt

// ParseHeader reads the header of a token that the signer has made.
func ParseHeader(text []byte) (algorithm, keyID, kind string, err error) {
	h, err := parseHeader(text)
	return h.Algorithm, h.KeyID, h.Type, err
}
