// Package openid serves the two documents by which others verify tokens of
// service accounts without asking: the discovery document of the issuer, and the
// set of the public keys (OpenID Connect Discovery 1.0, section 3).
//
// The one idea: what is served says for how long it may be kept, and that is a
// promise. A key may sign only once every copy from before it was published has
// ended, so whoever rotates keys asks for the same [MaxAge].
//
// It refuses an issuer that nobody could discover: one that is no https URL, or
// has a query or a fragment. The paths, headers and bytes are kube-apiserver's
// (pkg/serviceaccount/openidmetadata.go, pkg/routes/openidmetadata.go).
package openid

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Where the documents are.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeysPath          = "/openid/v1/jwks"
)

// MaxAge is how long a copy of the documents may be kept where the server holds
// the keys itself.
const MaxAge = time.Hour

// Keys are what the documents tell of the keys now.
type Keys struct {
	// Set is the JSON web key set, and Algorithms what its keys sign with, sorted
	// and each once.
	Set        []byte
	Algorithms []string
	// MaxAge is how long a copy may be kept.
	MaxAge time.Duration
}

// An Issuer serves the documents of one issuer.
type Issuer struct {
	url, keysURL string
	now          func() (Keys, error)
}

// New returns what serves the documents of the issuer. keysURL is where the key
// set is said to be; if it is empty, that is [KeysPath] of the server at base, an
// https URL without a path. now is asked for each answer.
func New(issuer, keysURL, base string, now func() (Keys, error)) (*Issuer, error) {
	if err := Discoverable(issuer); err != nil {
		return nil, err
	}
	if keysURL == "" {
		keysURL = base + KeysPath
	}
	u, err := url.Parse(keysURL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the URL of the key set must be an https URL, got: %s", keysURL)
	}
	return &Issuer{url: issuer, keysURL: keysURL, now: now}, nil
}

// Discoverable returns why nobody could find the documents of an issuer, or nil.
// The texts are Kubernetes'.
func Discoverable(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil:
		return fmt.Errorf("issuer URL must use https scheme, got: %s", issuer)
	case u.Scheme != "https":
		return fmt.Errorf("issuer URL must use https scheme, got: %s", issuer)
	case u.RawQuery != "":
		return fmt.Errorf("issuer URL may not include a query, got: %s", issuer)
	case u.Fragment != "":
		return fmt.Errorf("issuer URL may not include a fragment, got: %s", issuer)
	}
	return nil
}

// configuration is the discovery document, in upstream's order. The three lists
// are required, and are all that holds: tokens are not got by logging in here.
type configuration struct {
	Issuer        string   `json:"issuer"`
	KeysURL       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
}

// ServeConfiguration answers with the discovery document.
func (i *Issuer) ServeConfiguration(w http.ResponseWriter, _ *http.Request) {
	i.serve(w, "application/json", func(k Keys) ([]byte, error) {
		return json.Marshal(configuration{
			Issuer: i.url, KeysURL: i.keysURL,
			ResponseTypes: []string{"id_token"}, SubjectTypes: []string{"public"}, Algorithms: k.Algorithms,
		})
	})
}

// ServeKeys answers with the key set.
func (i *Issuer) ServeKeys(w http.ResponseWriter, _ *http.Request) {
	i.serve(w, "application/jwk-set+json", func(k Keys) ([]byte, error) { return k.Set, nil })
}

func (i *Issuer) serve(w http.ResponseWriter, kind string, document func(Keys) ([]byte, error)) {
	keys, err := i.now()
	var text []byte
	if err == nil {
		text, err = document(keys)
	}
	if err != nil {
		// No text is better than one that caches would keep.
		http.Error(w, "the keys cannot be told now", http.StatusServiceUnavailable)
		return
	}
	seconds := max(0, int(keys.MaxAge/time.Second))
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(seconds))
	_, _ = w.Write(text) // fails only if the caller is gone
}
