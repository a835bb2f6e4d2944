package durability_test

import (
	"bufio"
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// elsewhere is how long a Revocation may take to be in force on another process.
// The aim is a second; the machine may be busy, and what was measured is printed.
const elsewhere = 15 * time.Second

// A school is three processes on one store, and those who issue credentials.
type school struct {
	t          *testing.T
	kubeconfig string
	replicas   []*replica
	ca         *authority.Authority
	idp        *oidc.Provider
	tokens     []string // hashed ones, named t0, t1, ...
	took       map[string][]time.Duration
}

func newSchool(t *testing.T, rounds int) *school {
	t.Helper()
	etcds := startCluster(t, 1)
	first := env.Start(t)
	first.Stop()
	flags := moved(t, append([]string{"migrate", "--data-dir", first.DataDir, "--keys-to", filepath.Join(t.TempDir(), "keys")}, etcds.flags()...))
	s := &school{t: t, kubeconfig: first.Kubeconfig, ca: authority.New(t, "school"), took: map[string][]time.Duration{}}
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
	write(t, filepath.Join(dir, "tokens"), []byte(lines.String()))
	write(t, filepath.Join(dir, "issuers.json"), s.issuers())
	cas := readFile(t, s.ca.File)
	for _, flag := range flags {
		if own, ok := strings.CutPrefix(flag, "--client-ca-file="); ok {
			cas = append(cas, readFile(t, own)...)
		}
	}
	write(t, filepath.Join(dir, "clients.crt"), cas)
	flags = append(flags, "--client-ca-file="+filepath.Join(dir, "clients.crt"), "--hashed-token-file="+filepath.Join(dir, "tokens"),
		"--authentication-config="+filepath.Join(dir, "issuers.json"))
	for range 3 {
		s.replicas = append(s.replicas, startReplica(t, s.kubeconfig, flags))
	}
	return s
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// issuers starts the provider, and returns the configuration that trusts it.
func (s *school) issuers() []byte {
	s.t.Helper()
	var handler http.Handler
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	s.t.Cleanup(server.Close)
	s.idp = oidc.New(s.t, server.URL)
	handler = s.idp
	text, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer": map[string]any{"url": server.URL, "audiences": []string{"gatehouse"},
				"certificateAuthority": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))},
			"claimMappings": map[string]any{"username": map[string]any{"claim": "sub", "prefix": ""}, "groups": map[string]any{"claim": "groups", "prefix": ""}},
		}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// A pupil is somebody with a credential, on each of the processes, and the twin
// of it: the same with a signature that somebody has rewritten, or nothing.
type pupil struct{ own, twin []*client }

func (s *school) withToken(token string) pupil {
	var p pupil
	for _, r := range s.replicas {
		p.own = append(p.own, withToken(s.t, s.kubeconfig, r.base, token))
		if twin := twinOfToken(token); twin != "" {
			p.twin = append(p.twin, withToken(s.t, s.kubeconfig, r.base, twin))
		}
	}
	return p
}

func (s *school) withCertificate(name string) (pupil, *x509.Certificate) {
	s.t.Helper()
	certFile, keyFile := s.ca.Issue(s.t, name, "pupils")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	with := func(der []byte, base string) *client {
		c := rest.AnonymousClientConfig(cfg)
		c.CertData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		c.KeyData = readFile(s.t, keyFile)
		return connectAs(s.t, c, base)
	}
	var p pupil
	for _, r := range s.replicas {
		p.own = append(p.own, with(pair.Certificate[0], r.base))
		p.twin = append(p.twin, with(twinOfCertificate(s.t, pair.Certificate[0]), r.base))
	}
	return p, pair.Leaf
}

// twinOfToken rewrites the signature of an ES256 token, or returns "".
func twinOfToken(token string) string {
	at := strings.LastIndexByte(token, '.')
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if at < 0 || err != nil || !strings.Contains(string(text), `"ES256"`) {
		return ""
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || len(signature) != 64 {
		return ""
	}
	otherForm(new(big.Int).SetBytes(signature[32:])).FillBytes(signature[32:])
	return token[:at+1] + base64.RawURLEncoding.EncodeToString(signature)
}

// twinOfCertificate rewrites the signature of a certificate.
func twinOfCertificate(t *testing.T, der []byte) []byte {
	t.Helper()
	var cert struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		t.Fatal(err)
	}
	var numbers struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(cert.Signature.Bytes, &numbers); err != nil {
		t.Fatal(err)
	}
	numbers.S = otherForm(numbers.S)
	signature, err := asn1.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	cert.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	twin, err := asn1.Marshal(cert)
	if err != nil {
		t.Fatal(err)
	}
	return twin
}

// otherForm returns n - s.
func otherForm(s *big.Int) *big.Int { return new(big.Int).Sub(elliptic.P256().Params().N, s) }

const whoamiPath = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

func (c *client) letIn(ctx context.Context) error {
	return c.do(ctx, "POST", whoamiPath, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, nil)
}

// revoke revokes on the first process, and holds all of them to it: the first at
// once, and the others soon.
func (s *school) revoke(kind string, p pupil, spec v1alpha1.RevocationSpec, lift bool) {
	s.t.Helper()
	ctx := s.t.Context()
	for i, c := range append(slices.Clone(p.own), p.twin...) {
		if err := c.letIn(ctx); err != nil {
			s.t.Fatalf("%s: %d is not let in before: %v", kind, i, err)
		}
	}
	var made v1alpha1.Revocation
	s.replicas[0].must(s.t, "POST", "/apis/gatehouse.dev/v1alpha1/revocations", &v1alpha1.Revocation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: strings.ReplaceAll(strings.ToLower(kind), " ", "-") + "-"}, Spec: spec,
	}, &made)
	said := time.Now()
	for _, c := range append([]*client{p.own[0]}, p.twin[:min(1, len(p.twin))]...) {
		if err := c.letIn(ctx); !isRefused(err, http.StatusUnauthorized) {
			s.t.Errorf("%s: where it was said, the answer is %v", kind, err)
		}
	}
	var work sync.WaitGroup
	var mu sync.Mutex
	for i := range s.replicas[1:] {
		work.Go(func() {
			took := s.untilRefused(kind, p.own[i+1], said)
			mu.Lock()
			s.took[kind] = append(s.took[kind], took)
			mu.Unlock()
			if len(p.twin) > 0 {
				if err := p.twin[i+1].letIn(ctx); !isRefused(err, http.StatusUnauthorized) {
					s.t.Errorf("%s: the twin is answered with %v", kind, err)
				}
			}
		})
	}
	work.Wait()
	if !lift {
		return
	}
	s.replicas[0].must(s.t, "DELETE", "/apis/gatehouse.dev/v1alpha1/revocations/"+made.Name, nil, nil)
	for i, c := range p.own {
		eventually(s.t, elsewhere, fmt.Sprintf("%s: process %d lets in again", kind, i), func() error { return c.letIn(ctx) })
	}
}

func (s *school) untilRefused(kind string, c *client, said time.Time) time.Duration {
	for {
		// What is asked now is answered by what is known now. The answer itself may
		// be late: whoever is refused often is told late.
		took := time.Since(said)
		err := c.letIn(s.t.Context())
		switch {
		case isRefused(err, http.StatusUnauthorized):
			return took
		case err != nil || took > elsewhere:
			s.t.Errorf("%s: after %v the answer elsewhere is %v", kind, took, err)
			return took
		}
	}
}

// TestRevocation revokes each kind of thing on one of three processes.
func TestRevocation(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	rounds := 3
	if os.Getenv("GATEHOUSE_NIGHTLY") != "" {
		rounds = 100
	}
	s := newSchool(t, rounds)
	for round := range rounds {
		s.round(round)
	}
	t.Run("watch", s.watch)
	for kind, took := range s.took {
		slices.Sort(took)
		t.Logf("%-20s elsewhere after %v (median), %v (p99), %v (longest) of %d", kind,
			took[len(took)/2].Round(10*time.Microsecond), took[(len(took)*99)/100].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond), len(took))
	}
}

func (s *school) round(n int) {
	type spec = v1alpha1.RevocationSpec
	s.t.Helper()
	token := func(sub string, groups ...string) string {
		return s.idp.Token(s.t, "gatehouse", map[string]any{"sub": sub, "groups": groups, "jti": sub})
	}
	named := func(token string) spec {
		named, err := revocation.OfToken(token)
		if err != nil {
			s.t.Fatal(err)
		}
		return named
	}
	cert, leaf := s.withCertificate(fmt.Sprint("cert-", n))
	s.revoke("certificate", cert, revocation.OfCertificate(leaf), false)

	name := fmt.Sprint("account-", n)
	s.replicas[0].must(s.t, "POST", "/api/v1/namespaces/default/serviceaccounts",
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil)
	account := s.replicas[0].token(s.t, "default", name)
	s.revoke("account token", s.withToken(account), named(account), false)
	another := s.replicas[0].token(s.t, "default", name)
	s.revoke("account", s.withToken(another), spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "default", Name: name}}, false)

	foreign := token(fmt.Sprint("foreign-", n))
	s.revoke("OIDC token", s.withToken(foreign), named(foreign), false)
	s.revoke("static token", s.withToken(s.tokens[n]), spec{CredentialID: fmt.Sprint("NAME=t", n)}, false)
	user := fmt.Sprint("user-", n)
	s.revoke("user", s.withToken(token(user)), spec{User: user}, false)
	group := fmt.Sprint("group-", n)
	s.revoke("group", s.withToken(token(fmt.Sprint("member-", n), "others", group)), spec{Group: group}, false)
	rest := s.withToken(token(fmt.Sprint("rest-", n)))
	s.revoke("issuer", rest, spec{Issuer: s.idp.Issuer}, true)
	s.revoke("key", rest, spec{Key: &v1alpha1.RevokedKey{ID: s.idp.Keys[0].ID, Issuer: s.idp.Issuer}}, true)
}

// watch ends what is open on another process.
func (s *school) watch(t *testing.T) {
	s.replicas[0].must(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": "watcher"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "watcher"}},
	}, nil)
	p := s.withToken(s.idp.Token(t, "gatehouse", map[string]any{"sub": "watcher"}))
	far := p.own[len(p.own)-1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var response *http.Response
	eventually(t, elsewhere, "a watch", func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, far.base+"/api/v1/namespaces/default/configmaps?watch=true", nil)
		if err != nil {
			return err
		}
		if response, err = far.http.Do(request); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			response.Body.Close()
			return fmt.Errorf("answered %s", response.Status)
		}
		return nil
	})
	defer response.Body.Close()
	said := time.Now()
	s.replicas[0].must(t, "POST", "/apis/gatehouse.dev/v1alpha1/revocations", &v1alpha1.Revocation{
		ObjectMeta: metav1.ObjectMeta{Name: "watcher"}, Spec: v1alpha1.RevocationSpec{User: "watcher"},
	}, nil)
	var last string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		last = lines.Text()
	}
	took := time.Since(said)
	if !strings.Contains(last, `"type":"ERROR"`) || !strings.Contains(last, "has been revoked") || took > elsewhere {
		t.Errorf("the watch ended after %v with %q", took, last)
	}
	t.Logf("a watch elsewhere was ended after %v", took.Round(time.Millisecond))
}
