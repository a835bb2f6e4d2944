// Package oidc is an OpenID provider for tests: it lives in the process of the
// test, signs whatever claims it is told to, and changes its keys, falls silent
// or misbehaves on command.
//
// It is a handler for a real server and at the same time a transport that
// answers without a network, so that a test may run in virtual time.
package oidc

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// A Provider is one issuer of tokens. Its fields may be changed between
// requests, and under Lock during them.
type Provider struct {
	sync.Mutex
	// Issuer is its URL.
	Issuer string
	// Keys are those that it signs with; the last one signs by default.
	Keys []Key
	// CacheControl is the header of its key set, if not empty.
	CacheControl string
	// Down lets every request fail.
	Down bool
	// Answer, if not nil, answers a request instead of the provider, or returns
	// false.
	Answer func(w http.ResponseWriter, r *http.Request) bool
	// Discoveries and Fetches count the requests for its description and for
	// its keys, whether they failed or not.
	Discoveries, Fetches int
}

// Paths below the issuer.
const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// ServeHTTP implements [http.Handler].
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Lock()
	defer p.Unlock()
	discovery := strings.HasSuffix(r.URL.Path, discoveryPath)
	if discovery {
		p.Discoveries++
	} else if strings.HasSuffix(r.URL.Path, keysPath) {
		p.Fetches++
	}
	switch {
	case p.Down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case p.Answer != nil && p.Answer(w, r):
	case discovery:
		answer(w, map[string]any{"issuer": p.Issuer, "jwks_uri": p.Issuer + keysPath, "response_types_supported": []string{"code"}})
	case strings.HasSuffix(r.URL.Path, keysPath):
		if p.CacheControl != "" {
			w.Header().Set("Cache-Control", p.CacheControl)
		}
		answer(w, p.KeySet())
	default:
		http.NotFound(w, r)
	}
}

// KeySet returns the JSON web key set of the provider.
func (p *Provider) KeySet() map[string]any {
	published := []map[string]string{}
	for _, k := range p.Keys {
		published = append(published, k.JWK())
	}
	return map[string]any{"keys": published}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// RoundTrip implements [http.RoundTripper] without a network.
func (p *Provider) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" {
		return nil, errors.New("a request without TLS")
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	res := w.Result()
	res.Request = r
	return res, nil
}
