package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/identity"
)

// The targets of authentication, in parts of what upstream's union costs, and
// over what the signature of a token costs.
const (
	rememberedTarget = 1. / 8
	knownCertTarget  = 1. / 100
	newCertTarget    = 1. / 40
	proxyTarget      = 1. / 40
	strangerTarget   = 1. / 100
	overSignature    = 5 * time.Microsecond
)

const kubernetesUnion = "(upstream: the union of its authenticators, in kube-apiserver's order, with its token cache)"

// credentials compares finding out who sent a request, without what stands
// around it in a server.
func credentials(t *measure.Table) error {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBooth(dir)
	if err != nil {
		return err
	}
	if err := b.remembered(t); err != nil {
		return fmt.Errorf("remembered: %w", err)
	}
	if err := b.others(t); err != nil {
		return fmt.Errorf("other ways: %w", err)
	}
	if err := b.unseen(t); err != nil {
		return fmt.Errorf("not seen before: %w", err)
	}
	if err := growth(t); err != nil {
		return fmt.Errorf("growing: %w", err)
	}
	return million(t, dir)
}

// A credential is one of many requests on both sides.
type credential struct {
	name, want   string
	ours, theirs presenter
	target       float64
}

// A holder is a request whose credential changes.
type holder struct{ r *http.Request }

func newHolder(chain ...*x509.Certificate) *holder {
	c := newCall(http.MethodGet, "/version", asJSON, nil, nil)
	c.prepare()
	c.request.TLS = &tls.ConnectionState{PeerCertificates: chain}
	// No help from the connection. Upstream's filter has put the audiences of the
	// API there before it asks (k8s.io/apiserver pkg/endpoints/filters).
	return &holder{c.request.WithContext(authenticator.WithAudiences(context.Background(), authenticator.Audiences{issuer}))}
}

// bearing presents each of the tokens in turn. Upstream takes the header out of
// the request, so it is put back.
func bearing(tokens []string) func(i int) *http.Request {
	values := make([]string, len(tokens))
	for i, t := range tokens {
		values[i] = "Bearer " + t
	}
	h, header := newHolder(), []string{""}
	return func(i int) *http.Request {
		header[0] = values[i%len(values)]
		h.r.Header["Authorization"] = header
		return h.r
	}
}

// with presents a certificate and headers, on one connection or on a new one
// each time.
func with(cert *x509.Certificate, header http.Header, anew bool) func(int) *http.Request {
	h, conn := newHolder(cert), new(authn.Conn)
	r := h.r.WithContext(authn.WithConn(context.Background(), conn))
	return func(int) *http.Request {
		if anew {
			*conn = authn.Conn{}
		}
		maps.Copy(r.Header, header)
		return r
	}
}

func texts(tokens []*signed) []string {
	var all []string
	for _, t := range tokens {
		all = append(all, t.text)
	}
	return all
}

// accountTokens are n texts of 1 KiB, and whose they are: with the groups that
// the verifiers of both sides find, to which upstream's chain adds one.
func accountTokens(n int) (map[string]*identity.Identity, []string) {
	const groups, of = identity.ServiceAccountGroupPrefix, identity.ServiceAccountPrefix
	whose, tokens := make(map[string]*identity.Identity, n), make([]string, n)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("%08d", i) + strings.Repeat("0123456789abcdef", 64)[:1016]
		name := fmt.Sprintf("%sdefault:bench-%d", of, i)
		whose[tokens[i]] = &identity.Identity{Name: name, UID: fmt.Sprint(i), Groups: []string{identity.GroupServiceAccounts, groups + "default"}}
	}
	return whose, tokens
}

// staticTokens writes a file of n tokens.
func (b *booth) staticTokens(n int) (path string, tokens []string, err error) {
	var text strings.Builder
	for i := range n {
		token := fmt.Sprintf("%08d%s", i, staticToken[8:])
		tokens = append(tokens, token)
		fmt.Fprintf(&text, "%s,%s,%d,\"dev,ops\"\n", token, caller, i)
	}
	path = filepath.Join(b.dir, fmt.Sprintf("tokens-%d.csv", n))
	return path, tokens, os.WriteFile(path, []byte(text.String()), 0o600)
}

// remembered compares what both sides have seen before, with a population of
// tokens that they remember.
func (b *booth) remembered(t *measure.Table) error {
	var accounts []string
	b.accounts, accounts = accountTokens(population)
	file, static, err := b.staticTokens(population)
	if err != nil {
		return err
	}
	if err := b.build(file, 64, 4*population); err != nil {
		return err
	}
	rs, err := b.rs.signMany(atOnce, personClaims(issuerURL(63)))
	if err != nil {
		return err
	}
	es, err := b.es.signMany(atOnce, personClaims(issuerURL(63)))
	if err != nil {
		return err
	}
	foreign, err := b.es.signMany(atOnce, personClaims("https://nobody.example.org"))
	if err != nil {
		return err
	}
	words := http.Header{"X-Remote-User": {caller}, "X-Remote-Group": {"dev", "ops"}, "X-Remote-Extra-Team": {"blue"}}
	var cases []credential
	add := func(name, want string, target float64, of func() presenter) {
		cases = append(cases, credential{name, want, of(), of(), target})
	}
	token := func(name, want string, target float64, tokens []string) {
		add(name, want, target, func() presenter { return arriving(tokens, true) })
	}
	cert := func(name, want string, target float64, c *x509.Certificate, header http.Header, anew bool) {
		add(name, want, target, func() presenter { return each(with(c, header, anew)) })
	}
	const account = "system:serviceaccount:default:bench-0"
	token("service account token of 1 KiB", account, rememberedTarget, accounts)
	add("the same, its text far away in memory", account, 0, func() presenter { return arriving(accounts, false) })
	token("static token", caller, 0, static)
	token("JWT, RS256", caller, rememberedTarget, texts(rs))
	token("JWT, ES256", caller, rememberedTarget, texts(es))
	cert("client certificate, RSA, same connection", caller, knownCertTarget, b.rsCert, nil, false)
	cert("client certificate, RSA, new connection", caller, newCertTarget, b.rsCert, nil, true)
	cert("client certificate, ECDSA, same connection", caller, knownCertTarget, b.esCert, nil, false)
	cert("client certificate, ECDSA, new connection", caller, newCertTarget, b.esCert, nil, true)
	cert("client certificate of a stranger, new connection", "", 1, b.stranger, nil, true)
	cert("front proxy, same connection", caller, proxyTarget, b.proxy, words, false)
	cert("front proxy, new connection", caller, proxyTarget, b.proxy, words, true)
	add("no credential", identity.Anonymous, 1, func() presenter {
		h := newHolder()
		return each(func(int) *http.Request { return h.r })
	})
	token("JWT of an unknown issuer, 64 known", "", strangerTarget, texts(foreign))
	token("unknown token", "", 1, []string{"nobody-knows-this-one"})

	t.Section(fmt.Sprintf("Authenticating one request, %d tokens remembered %s", population, kubernetesUnion))
	for _, c := range cases {
		if err := b.compare(t, c); err != nil {
			return err
		}
	}
	return nil
}

// compare measures one credential on both sides.
func (b *booth) compare(t *measure.Table, c credential) error {
	if err := b.check(c); err != nil {
		return err
	}
	ours, theirs, ratio := measure.BothBatched(
		c.ours.asking(func(r *http.Request) { _, _ = b.ours.Authenticate(r) }),
		c.theirs.asking(func(r *http.Request) { _, _, _ = b.theirs.Request.AuthenticateRequest(r) }),
	)
	t.Relative(c.name, ours, theirs, ratio, c.target)
	return nil
}

func (b *booth) askOurs(next func(int) *http.Request) measure.Operation {
	return func(n int) {
		for i := range n {
			_, _ = b.ours.Authenticate(next(i))
		}
	}
}

// unseen compares tokens that neither side remembers, with each other and with
// what their signatures alone cost.
func (b *booth) unseen(t *measure.Table) error {
	b.accounts = nil
	file, _, err := b.staticTokens(1)
	if err != nil {
		return err
	}
	type cold struct {
		name   string
		signer *signer
		tokens []*signed
	}
	for _, issuers := range []int{1, 64} {
		if err := b.build(file, issuers, few); err != nil {
			return err
		}
		var all []cold
		for _, s := range []*signer{b.rs, b.es} {
			tokens, err := s.signMany(atOnce, personClaims(issuerURL(issuers-1)))
			if err != nil {
				return err
			}
			all = append(all, cold{"JWT, " + s.algorithm, s, tokens})
			if tokens, err = s.signMany(atOnce, accountClaims); err != nil {
				return err
			}
			all = append(all, cold{"service account token, " + s.algorithm, s, tokens})
		}
		t.Section(fmt.Sprintf("A JWT not seen before, issuers: %d %s", issuers, kubernetesUnion))
		for i := 0; i < len(all); i += 2 { // upstream's of service accounts cannot be imported
			c := credential{all[i].name, caller, arriving(texts(all[i].tokens), true), arriving(texts(all[i].tokens), true), 0}
			if err := b.compare(t, c); err != nil {
				return err
			}
		}
		t.Section(fmt.Sprintf("A token not seen before, issuers: %d (beside it: what the standard library takes for its signature)", issuers))
		for _, c := range all {
			ours, alone, ratio := measure.Both(b.askOurs(bearing(texts(c.tokens))), func(n int) {
				for i := range n {
					_ = c.signer.check(c.tokens[i%len(c.tokens)])
				}
			})
			t.Absolute(c.name, ours, alone, ratio, alone.CPU+overSignature)
		}
	}
	return nil
}

// check compares what both sides say about the first request.
func (b *booth) check(c credential) error {
	ours, theirs := "", ""
	if res, err := b.ours.Authenticate(c.ours.first()); err == nil {
		ours = res.Identity.Name
	}
	if res, ok, err := b.theirs.Request.AuthenticateRequest(c.theirs.first()); err == nil && ok {
		theirs = res.User.GetName()
	}
	if ours != c.want || theirs != c.want {
		return fmt.Errorf("%s: %w: ours says %q, upstream %q, and it is %q", c.name, errWrong, ours, theirs, c.want)
	}
	return nil
}
