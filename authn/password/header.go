package password

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// Scheme is that of the Authorization headers that are read here.
const Scheme = "Basic"

// maxPair is the longest user name and password, in bytes, with the colon
// between them.
const maxPair = 1 << 10

// A pair is what a request was sent with.
type pair struct{ sent, name, password string }

// read returns the user name and password in the Authorization header (RFC 7617
// section 2). There is none if the header is missing or of another scheme.
func read(h http.Header) (pair, error) {
	values := h["Authorization"]
	ours := false
	for _, v := range values {
		word, _, _ := strings.Cut(v, " ")
		ours = ours || strings.EqualFold(word, Scheme)
	}
	if !ours {
		return pair{}, errNone
	}
	if len(values) > 1 {
		return pair{}, refuse("request has more than one Authorization header")
	}
	_, encoded, _ := strings.Cut(values[0], " ")
	if len(encoded) > base64.StdEncoding.EncodedLen(maxPair) {
		return pair{}, refuse("the user name and password are longer than 1 KiB")
	}
	// The library skips line breaks, which no header has.
	data, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return pair{}, refuse("what follows Basic is not base64")
	}
	p := pair{sent: string(data)}
	var colon bool
	p.name, p.password, colon = strings.Cut(p.sent, ":")
	switch {
	case !utf8.ValidString(p.sent):
		return pair{}, refuse("the user name or password is not UTF-8")
	case strings.ContainsFunc(p.sent, unicode.IsControl):
		return pair{}, refuse("the user name or password has a control character")
	case !colon:
		return pair{}, refuse("there is no colon between user name and password")
	case p.name == "":
		return pair{}, refuse("the user name is empty")
	case p.password == "":
		return pair{}, refuse("the password is empty")
	}
	return p, nil
}

var errNone = authn.Pass(identity.Password, "there is no Authorization header of the scheme Basic")

// refuse refuses a header that cannot be read.
func refuse(reason string) error {
	return &authn.Refusal{Method: identity.Password, Reason: reason, Facts: authn.Facts{
		Kind: authn.Malformed,
		Mend: "send the header as Authorization: Basic, one space, and USER:PASSWORD in base64 of UTF-8",
	}}
}
