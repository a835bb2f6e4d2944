package durability_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/internal/revocation"
	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/oidc"
)

// A school is four processes on one store, the last of which can be cut off from
// it, and those who issue credentials.
type school struct {
	t          *testing.T
	kubeconfig string
	replicas   []*replica
	gate       *gate
	ca         *authority.Authority
	// idps are by their name. Two of them are revoked, or their key is, and so
	// they have a pupil each.
	idps   map[string]*oidc.Provider
	tokens []string // hashed ones, named t0, t1, ...
	took   *times
}

func newSchool(t *testing.T, rounds int) *school {
	t.Helper()
	etcds := startCluster(t, 1)
	first := env.Start(t)
	first.Stop()
	flags := moved(t, append([]string{"migrate", "--data-dir", first.DataDir, "--keys-to", filepath.Join(t.TempDir(), "keys")}, etcds.flags()...))
	s := &school{t: t, kubeconfig: first.Kubeconfig, ca: authority.New(t, "school"), idps: map[string]*oidc.Provider{}, took: newTimes()}
	dir := t.TempDir()
	var lines strings.Builder
	for i := range rounds {
		token := statictoken.NewToken()
		line, err := statictoken.Line{Name: fmt.Sprint("t", i), User: fmt.Sprint("static-", i)}.Of(token)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens = append(s.tokens, token)
		fmt.Fprintln(&lines, line)
	}
	env.Write(t, filepath.Join(dir, "tokens"), lines.String())
	env.Write(t, filepath.Join(dir, "issuers.json"), s.issuers("people", "issuer", "key"))
	cas := s.ca.PEM()
	for _, flag := range flags {
		if own, ok := strings.CutPrefix(flag, "--client-ca-file="); ok {
			cas += env.Read(t, own)
		}
	}
	env.Write(t, filepath.Join(dir, "clients.crt"), cas)
	flags = append(flags, "--client-ca-file="+filepath.Join(dir, "clients.crt"), "--hashed-token-file="+filepath.Join(dir, "tokens"),
		"--authentication-config="+filepath.Join(dir, "issuers.json"), "--max-staleness="+staleness.String())
	for range 3 {
		s.replicas = append(s.replicas, startReplica(t, s.kubeconfig, flags))
	}
	s.gate = newGate(t, etcds.members[0].Client)
	s.replicas = append(s.replicas, startReplica(t, s.kubeconfig, s.gate.behind(flags)))
	s.replicas[0].must(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": "watchers"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}},
	}, nil)
	return s
}

// issuers starts providers, and returns the configuration that trusts them.
func (s *school) issuers(names ...string) string {
	s.t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	s.t.Cleanup(server.Close)
	var trusted []any
	for _, name := range names {
		p := oidc.New(s.t, server.URL+"/"+name)
		s.idps[name] = p
		mux.Handle("/"+name+"/", p)
		trusted = append(trusted, map[string]any{
			"issuer": map[string]any{"url": p.Issuer, "audiences": []string{"gatehouse"},
				"certificateAuthority": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "sub", "prefix": ""}, "groups": map[string]any{"claim": "groups", "prefix": ""}},
		})
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": trusted,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// A pupil is somebody with a credential that is going to be revoked.
type pupil struct {
	kind  string
	token string // or a certificate, if empty
	spec  v1alpha1.RevocationSpec
	// lift says that the Revocation is lifted again: another pupil will need what
	// it is about.
	lift bool

	visitors []*visitor
	made     v1alpha1.Revocation
	said     time.Time // when the call that revoked had returned
}

// A visitor is a pupil at one of the processes, or the twin of a pupil there: one
// with the same credential whose signature somebody has rewritten.
type visitor struct {
	*client
	transport *http.Transport
	at        int
	what      string
	watch     *openedWatch
}

// pupils are those of a round: one for each kind of thing that can be revoked.
func (s *school) pupils(n int) []*pupil {
	s.t.Helper()
	name := func(what string) string { return fmt.Sprint(what, "-", n) }
	of := func(idp, what string, jti any, groups ...string) string {
		return s.idps[idp].Token(s.t, "gatehouse", map[string]any{"sub": name(what), "jti": jti, "groups": groups})
	}
	type spec = v1alpha1.RevocationSpec
	holder, account := s.account(name("holder")), s.account(name("account"))
	foreign, nameless := of("people", "foreign", name("foreign")), of("people", "nameless", nil)
	all := []*pupil{
		{kind: "account token", token: holder, spec: s.specOf(holder)},
		{kind: "account", token: account, spec: spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "default", Name: name("account")}}},
		{kind: "OIDC token", token: foreign, spec: s.specOf(foreign)},
		{kind: "OIDC token, no jti", token: nameless, spec: s.specOf(nameless)},
		{kind: "static token", token: s.tokens[n], spec: spec{CredentialID: fmt.Sprint("NAME=t", n)}},
		{kind: "user", token: of("people", "user", nil), spec: spec{User: name("user")}},
		{kind: "group", token: of("people", "member", nil, "others", name("group")), spec: spec{Group: name("group")}},
		{kind: "issuer", token: of("issuer", "left", nil), spec: spec{Issuer: s.idps["issuer"].Issuer}, lift: true},
		{kind: "key", token: of("key", "left", nil), spec: spec{Key: &v1alpha1.RevokedKey{ID: s.idps["key"].Keys[0].ID, Issuer: s.idps["key"].Issuer}}, lift: true},
		{kind: "certificate"},
	}
	for k, p := range all {
		// Whoever is refused often is told late, and so each of them comes from an
		// address of his own.
		from := fmt.Sprintf("127.%d.%d.%d", k+1, n/200, n%200+1)
		if p.token == "" {
			s.certify(p, name("cert"), from)
			continue
		}
		s.open(p, "", from, func(c *rest.Config) { c.BearerToken = p.token })
		if twin := twinOfToken(p.token); twin != "" {
			s.open(p, ", twin", from, func(c *rest.Config) { c.BearerToken = twin })
		}
	}
	return all
}

// account makes a service account, and returns a token of it.
func (s *school) account(name string) string {
	s.t.Helper()
	s.replicas[0].must(s.t, "POST", "/api/v1/namespaces/default/serviceaccounts",
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil)
	return s.replicas[0].token(s.t, "default", name)
}

func (s *school) specOf(token string) v1alpha1.RevocationSpec {
	s.t.Helper()
	spec, err := revocation.OfToken(token)
	if err != nil {
		s.t.Fatal(err)
	}
	return spec
}

// certify gives a pupil a certificate.
func (s *school) certify(p *pupil, name, from string) {
	s.t.Helper()
	certFile, keyFile := s.ca.Issue(s.t, name, "pupils")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	p.spec = revocation.OfCertificate(pair.Leaf)
	with := func(der []byte) func(*rest.Config) {
		return func(c *rest.Config) {
			c.CertData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			c.KeyData = []byte(env.Read(s.t, keyFile))
		}
	}
	s.open(p, "", from, with(pair.Certificate[0]))
	s.open(p, ", twin", from, with(twinOfCertificate(s.t, pair.Certificate[0])))
}

// open adds visitors of all processes, with a connection of their own each.
func (s *school) open(p *pupil, twin, from string, with func(*rest.Config)) {
	s.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg = rest.AnonymousClientConfig(cfg)
	with(cfg)
	for at, r := range s.replicas {
		trust, err := rest.TLSConfigFor(cfg)
		if err != nil {
			s.t.Fatal(err)
		}
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		transport := &http.Transport{TLSClientConfig: trust, DialContext: dialer.DialContext, ForceAttemptHTTP2: true}
		wrapped, err := rest.HTTPWrappersForConfig(cfg, transport)
		if err != nil {
			s.t.Fatal(err)
		}
		p.visitors = append(p.visitors, &visitor{
			client:    &client{http: &http.Client{Transport: wrapped}, base: r.base},
			transport: transport, at: at, what: fmt.Sprintf("%s%s at %d", p.kind, twin, at),
		})
	}
}
