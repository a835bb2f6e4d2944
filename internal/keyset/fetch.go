package keyset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"
)

const (
	// maxAnswer is the largest document, in bytes, that is read.
	maxAnswer = 1 << 20
	// maxRedirects is how often a request may be sent elsewhere.
	maxRedirects = 3

	wellKnown = "/.well-known/openid-configuration"
)

// fetch returns the key set of the issuer, and how long it is fresh.
func (s *Set) fetch(ctx context.Context) ([]byte, time.Duration, error) {
	if s.keysURL == "" || time.Since(s.discovered) > rediscover {
		found, err := s.discover(ctx)
		switch {
		case err == nil:
			s.keysURL, s.discovered = found, time.Now()
		case s.keysURL == "":
			return nil, 0, err
		}
		// An issuer may keep its keys elsewhere than its description, and they
		// are what matters: the address of before is good for them.
	}
	set, header, err := s.client.Get(ctx, s.keysURL, "")
	if err != nil {
		s.discovered = time.Time{} // the keys may have moved
		return nil, 0, fmt.Errorf("fetching keys: %w", err)
	}
	return set, freshness(header, time.Now()), nil
}

// discover returns where the issuer says that its keys are.
func (s *Set) discover(ctx context.Context) (string, error) {
	from := s.cfg.DiscoveryURL
	if from == "" {
		from = strings.TrimSuffix(s.cfg.Issuer, "/") + wellKnown
	}
	text, _, err := s.client.Get(ctx, from, "")
	if err != nil {
		return "", fmt.Errorf("fetching discovery document: %w", err)
	}
	keysURL, err := parseDiscovery(text, s.cfg.Issuer)
	if err != nil {
		return "", fmt.Errorf("reading discovery document %s: %w", from, err)
	}
	return keysURL, nil
}

// parseDiscovery reads what a provider says about itself.
func parseDiscovery(text []byte, issuer string) (keysURL string, err error) {
	var provider struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	strict, err := kjson.UnmarshalStrict(text, &provider, kjson.DisallowDuplicateFields)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return "", fmt.Errorf("no JSON object: %w", err)
	}
	if provider.Issuer != issuer {
		return "", fmt.Errorf("it is about the issuer %.200q, not about %q", provider.Issuer, issuer)
	}
	if provider.JWKSURI == "" {
		return "", errors.New("it has no jwks_uri")
	}
	if _, err := checkURL(provider.JWKSURI); err != nil {
		return "", fmt.Errorf("its jwks_uri: %w", err)
	}
	return provider.JWKSURI, nil
}

// checkURL returns the address, which has to be that of a server with TLS.
func checkURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("%.200q is no URL", address)
	case u.Scheme != "https":
		return nil, fmt.Errorf("%.200q does not begin with https://", address)
	case u.User != nil:
		return nil, errors.New("the URL holds a user name or a password")
	}
	return u, nil
}

// An AnswerError is an answer that is of no use: what it was, and why.
type AnswerError struct {
	Code int
	Err  error
}

func (e *AnswerError) Error() string { return e.Err.Error() }
func (e *AnswerError) Unwrap() error { return e.Err }

// A Client fetches what issuers publish, under the rules of the package.
type Client struct{ http *http.Client }

// NewClient returns a client that makes its requests by transport. Nil is
// [http.DefaultTransport].
func NewClient(transport http.RoundTripper) *Client {
	return &Client{&http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: sameOrigin}}
}

// Get returns the document at address and the header that it came with. If a
// bearer token is given it is sent along.
func (c *Client) Get(ctx context.Context, address, bearer string) ([]byte, http.Header, error) {
	if _, err := checkURL(address); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	// Addresses of claims are in tokens, and may have a secret in their query.
	shown := req.URL.Scheme + "://" + req.URL.Host + req.URL.EscapedPath()
	res, err := c.http.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("asking %s: %w", shown, failed.Err)
	}
	switch {
	case err != nil && res != nil:
		return nil, nil, &AnswerError{res.StatusCode, err} // a redirect that is refused
	case err != nil:
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, &AnswerError{res.StatusCode, fmt.Errorf("%s answered %d", shown, res.StatusCode)}
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer of %s: %w", shown, err)
	}
	if len(text) > maxAnswer {
		return nil, nil, &AnswerError{res.StatusCode, fmt.Errorf("the answer of %s is longer than 1 MiB", shown)}
	}
	return text, res.Header, nil
}

// sameOrigin lets a request be redirected within its server. Elsewhere, the
// issuer would not be who answers for its keys.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return errors.New("refusing a redirect to another origin")
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("refusing more than %d redirects", maxRedirects)
	}
	return nil
}

// freshness returns how long an answer is fresh by its header (RFC 9111 section
// 4.2.1), within our bounds.
func freshness(h http.Header, now time.Time) time.Duration {
	fresh, told := defaultFresh, false
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh, told = time.Duration(seconds)*time.Second, true
			}
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); told && err == nil {
		fresh -= time.Duration(age) * time.Second
	}
	if expires, err := http.ParseTime(h.Get("Expires")); !told && err == nil {
		fresh = expires.Sub(now)
	}
	return min(max(fresh, minFresh), maxFresh)
}
