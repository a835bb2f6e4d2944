// Package issuers follows a Kubernetes AuthenticationConfiguration, or the CA of
// the issuer that flags describe instead: it reads the issuers of tokens in it,
// compiles its expressions, keeps their keys fresh, and puts all of that into a
// [jwt.Verifier].
//
// The one idea: what is in force is replaced as a whole. A changed file takes
// effect once it was read, checked and compiled, and once every issuer that is
// new in it has shown its keys; until then, and if that fails, everything stays
// as it is. Issuers that a change does not touch keep the keys they have, so
// that one that is down does not stand in the way of a change to another.
//
// Types, validation and expressions are those that Kubernetes publishes, with
// its limits of cost. Refused beyond it: egress selectors, which this server
// does not have, and claims that are kept at a server nobody configured.
package issuers

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/internal/reload"
)

// A Config says where the issuers are described, and what they may do.
type Config struct {
	// Path is the file with an AuthenticationConfiguration, or "".
	Path string
	// Flags describe an issuer where there is no file, or are nil.
	Flags *Flags
	// Own are the issuers of this server, which none may pose as.
	Own []string
	// Audiences are those of the server.
	Audiences []string
	// Algorithms are those that the tokens of issuers in a file may be signed
	// with.
	Algorithms []string
	// MaxKeyAge is how old keys may become while their issuer is down.
	MaxKeyAge time.Duration
	// Reserved are names beginning with "system:" that an issuer may give, each
	// as its URL, a space and the name.
	Reserved []string
	// ClaimSources are the origins, such as https://graph.example.org, that
	// claims may be fetched from which are not in the token itself, besides
	// the origin of its issuer.
	ClaimSources []string
	// Transport makes the requests to issuers. Nil is the network, where an
	// issuer has to show a certificate of its authority.
	Transport http.RoundTripper
}

// Metrics count what happens.
type Metrics interface {
	// Verified returns what is told of every token of an issuer.
	Verified(issuer string) func(took time.Duration, err error)
	// KeysFetched is called with each key set of an issuer, or why there is none.
	KeysFetched(issuer string, set []byte, err error)
	// Gone is called when an issuer is no longer configured.
	Gone(issuer string)
	// Configured is called when a configuration has taken effect, with its
	// text. Reloaded says whether it replaces another one.
	Configured(text []byte, reloaded bool)
	// Refused is called when a changed configuration has not taken effect.
	Refused()
}

// file returns the path of the file that is followed, or "" if there is none.
func (c *Config) file() string {
	if c.Flags != nil {
		return c.Flags.CAFile
	}
	return c.Path
}

// read returns what the configuration says; text is that of the file.
func (c *Config) read(text []byte) (*Document, error) {
	var doc *Document
	var err error
	if c.Flags != nil {
		doc, err = c.Flags.document(text, c.Own)
	} else {
		doc, err = Parse(text, c.Own)
	}
	if err != nil {
		return nil, err
	}
	return doc, c.checkNames()
}

// checkNames refuses entries that could never have an effect.
func (c *Config) checkNames() error {
	for _, entry := range c.Reserved {
		if _, name, ok := strings.Cut(entry, " "); !ok || !strings.HasPrefix(name, "system:") {
			return fmt.Errorf("reserved name %q is not of the form \"ISSUER system:NAME\"", entry)
		}
	}
	for _, source := range c.ClaimSources {
		if origin, err := originOf(source); err != nil || origin != source {
			return fmt.Errorf("claim source %q is no origin of the form https://HOST or https://HOST:PORT", source)
		}
	}
	return nil
}

// Check returns what is wrong with the configuration, as [Open] would, and what
// it says about anonymous requests.
func Check(cfg Config) (*Anonymous, error) {
	switch {
	case cfg.Flags == nil && cfg.Path == "":
		return nil, cfg.checkNames()
	case cfg.file() == "":
		_, err := cfg.read(nil)
		return nil, err
	}
	file, err := reload.Open(cfg.file(), cfg.read, nil)
	if err != nil {
		return nil, err
	}
	return file.Value().Anonymous, nil
}

// URLs returns what the issuers call themselves.
func URLs(cfg Config) ([]string, error) {
	var text []byte
	if file := cfg.file(); file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the issuers: %w", err)
		}
	}
	doc, err := cfg.read(text)
	if err != nil {
		return nil, fmt.Errorf("reading the issuers: %w", err)
	}
	var urls []string
	for i := range doc.issuers {
		urls = append(urls, doc.issuers[i].spec.Issuer.URL)
	}
	return urls, nil
}

// Live are the issuers that are in force.
type Live struct {
	cfg      Config
	metrics  Metrics
	log      *slog.Logger
	verifier *jwt.Verifier
	file     *reload.File[*Document] // nil if there is nothing to follow
	first    *Document
	changed  chan struct{}

	effect reload.Effect

	// What follows belongs to the goroutine of Run.
	applied *Document
	sources map[string]*source
}

// Open reads the configuration, and fails if it is bad. No issuer is asked for
// anything before [Live.Run].
func Open(cfg Config, metrics Metrics, log *slog.Logger) (*Live, error) {
	l := &Live{
		cfg: cfg, metrics: metrics, log: log, changed: make(chan struct{}, 1),
		sources: map[string]*source{},
	}
	if cfg.file() == "" {
		doc, err := cfg.read(nil)
		if err != nil {
			return nil, err
		}
		l.first = doc
	} else {
		file, err := reload.Open(cfg.file(), l.parse, l.notify)
		if err != nil {
			return nil, err
		}
		l.file, l.first = file, file.Value()
	}
	sources, err := l.prepare(l.first)
	if err != nil {
		return nil, err
	}
	if l.verifier, err = jwt.New(cfg.Audiences, l.assemble(l.first, sources)...); err != nil {
		return nil, err
	}
	l.applied, l.sources = l.first, sources
	return l, nil
}

// Verifier returns the verifier of their tokens, always the same one.
func (l *Live) Verifier() *jwt.Verifier { return l.verifier }

// Anonymous returns what the configuration says about anonymous requests, or
// nil. It cannot change.
func (l *Live) Anonymous() *Anonymous { return l.first.Anonymous }

// Followed returns the name of the flag whose file is followed, or "".
func (l *Live) Followed() string {
	switch {
	case l.file == nil:
		return ""
	case l.cfg.Flags != nil:
		return "oidc-ca-file"
	}
	return "authentication-config"
}

// Status returns how following the file has gone so far. There must be one.
func (l *Live) Status() reload.Status { return l.effect.On(l.file.Status()) }

// parse reads a text of the file, which may be a later one.
func (l *Live) parse(text []byte) (*Document, error) {
	doc, err := l.cfg.read(text)
	if err != nil {
		return nil, err
	}
	if l.first != nil && !l.first.Anonymous.same(doc.Anonymous) {
		return nil, errors.New("anonymous cannot be changed while the server runs: restart it, or change it back")
	}
	return doc, nil
}

// notify takes the news from the file to the goroutine of Run.
func (l *Live) notify(problem error) {
	if problem != nil {
		l.refused()
		l.log.Error("authentication configuration is bad; the last good one stays in force", "err", problem)
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// refused and configured count what became of a change of the file that
// Kubernetes counts, which is that of --authentication-config alone.
func (l *Live) refused() {
	if l.cfg.Flags == nil {
		l.metrics.Refused()
	}
}

func (l *Live) configured(doc *Document, reloaded bool) {
	if l.cfg.Flags == nil {
		l.metrics.Configured(doc.text, reloaded)
	}
}

// client returns a client for an issuer whose certificate is of one of roots,
// or of one that the machine trusts if roots is nil.
func (l *Live) client(roots *x509.CertPool) *keyset.Client {
	if l.cfg.Transport != nil {
		return keyset.NewClient(l.cfg.Transport)
	}
	return keyset.NewClient(&http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        time.Minute,
		MaxIdleConns:           2,
		MaxResponseHeaderBytes: 64 << 10,
	})
}

// identity of a source: what makes its keys other keys.
func (i *issuer) sourceID() string {
	s := i.spec.Issuer
	sum := sha256.Sum256([]byte(s.CertificateAuthority))
	return strings.Join([]string{s.URL, s.DiscoveryURL, string(sum[:])}, "\x00")
}
