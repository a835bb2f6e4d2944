// Package identity_test asks a built gatehouse who its callers are: every kind
// of credential, what ends it, and what is told of it.
package identity_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/test/env"
)

// A world is a server, and files that it reads.
type world struct {
	*env.Server
	t     *testing.T
	dir   string // of the files
	admin *caller
	// places is how many addresses callers have so far.
	places atomic.Uint32
	// heard is what was answered to those who were refused, and ids are what the
	// server calls these requests.
	mu    sync.Mutex
	heard strings.Builder
	ids   []string
}

// refusals returns the IDs of the requests that were refused so far.
func (w *world) refusals() []string { return w.ids }

// start starts a server with flags. It trusts the client CA in w.file("ca.pem")
// and knows the tokens in w.file("tokens.csv"), which are made by files.
func start(t *testing.T, files map[string]string, flags ...string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server in a process of its own")
	}
	w := &world{t: t, dir: t.TempDir()}
	for name, text := range files {
		w.write(name, text)
	}
	for name, flag := range map[string]string{"ca.pem": "--client-ca-file", "tokens.csv": "--token-auth-file"} {
		if _, ok := files[name]; ok {
			flags = append(flags, flag+"="+w.file(name))
		}
	}
	for i, flag := range flags {
		flags[i] = strings.ReplaceAll(flag, "DIR", w.dir)
	}
	w.Server = env.Start(t, flags...)
	w.admin = w.administrator()
	return w
}

// hear keeps an answer to somebody who was refused.
func (w *world) hear(a answer) {
	w.number(a)
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.code >= 400 {
		fmt.Fprintln(&w.heard, a.header, a.body)
	}
}

// number keeps what the server calls a request that can be explained.
func (w *world) number(a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := a.header.Get("Gatehouse-Request-Id"); id != "" {
		w.ids = append(w.ids, id)
	}
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// write replaces a file in one step, as a careful operator does.
func (w *world) write(name, text string) {
	w.t.Helper()
	if err := replaceFile(w.file(name), text); err != nil {
		w.t.Fatal(err)
	}
}

func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// administrator is who the kubeconfig of the server lets in.
func (w *world) administrator() *caller {
	w.t.Helper()
	return &caller{t: w.t, url: w.Address, client: w.Client()}
}

// A credential is what a caller shows.
type credential struct {
	cert   *tls.Certificate
	token  string
	header http.Header
	http1  bool
}

// A caller makes requests on one connection, as long as the server keeps it.
type caller struct {
	t      *testing.T
	url    string
	client *http.Client
	header http.Header
	dials  atomic.Int32
	// heard, which may be nil, is told of every answer.
	heard func(answer)
}

// place returns an address of this machine that no caller has yet: the server
// answers slowly where many are refused from one.
func (w *world) place() net.Addr {
	n := w.places.Add(1)
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}
}

// as returns a caller with a connection of its own, from a place of its own.
func (w *world) as(c credential) *caller {
	w.t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM([]byte(env.Read(w.t, filepath.Join(w.DataDir, "ca.crt"))))
	if c.cert != nil {
		// Shown whatever authorities the server names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
	}
	dialer := &net.Dialer{LocalAddr: w.place()}
	who := &caller{t: w.t, url: w.Address, header: http.Header{}, heard: w.hear}
	maps.Copy(who.header, c.header)
	if c.token != "" {
		who.header.Set("Authorization", "Bearer "+c.token)
	}
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: !c.http1,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			who.dials.Add(1)
			return dialer.DialContext(ctx, network, addr)
		},
	}
	who.client = &http.Client{Transport: transport}
	w.t.Cleanup(transport.CloseIdleConnections)
	return who
}

// An answer is what a caller got.
type answer struct {
	code   int
	header http.Header
	body   string
	proto  int
	// warm is set if the request went over a connection that was there.
	warm bool
}

// ask makes a request. A body that is a string is sent as it is, another one as
// JSON.
func (c *caller) ask(method, path string, body any) answer {
	c.t.Helper()
	a, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is ask for who is not the goroutine of the test.
func (c *caller) try(method, path string, body any) (a answer, err error) {
	var sent bytes.Buffer
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		sent.WriteString(b)
	default:
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return a, err
		}
	}
	if method == "PATCH" {
		contentType = "application/merge-patch+json"
	}
	ctx := httptrace.WithClientTrace(c.t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { a.warm = info.Reused },
	})
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, &sent)
	if err != nil {
		return a, err
	}
	maps.Copy(r.Header, c.header)
	r.Header.Set("Content-Type", contentType)
	resp, err := c.client.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a.code, a.header, a.body, a.proto = resp.StatusCode, resp.Header, string(text), resp.ProtoMajor
	if c.heard != nil {
		c.heard(a)
	}
	return a, nil
}

// must makes a request that has to have one of the codes from 200 to 299, and
// decodes the answer into out, unless that is nil.
func (c *caller) must(method, path string, body, out any) {
	c.t.Helper()
	a := c.ask(method, path, body)
	if a.code < 200 || a.code > 299 {
		c.t.Fatalf("%s %s: %d %s", method, path, a.code, a.body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, a.body)
		}
	}
}

const (
	selfReviews  = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	tokenReviews = "/apis/authentication.k8s.io/v1/tokenreviews"
	rbac         = "/apis/rbac.authorization.k8s.io/v1/"
)

// whoami asks the server who the caller is.
func (c *caller) whoami() (authenticationv1.UserInfo, answer) {
	c.t.Helper()
	a := c.ask("POST", selfReviews, `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	var review authenticationv1.SelfSubjectReview
	if a.code == http.StatusCreated {
		if err := json.Unmarshal([]byte(a.body), &review); err != nil {
			c.t.Fatalf("%v in %s", err, a.body)
		}
	}
	return review.Status.UserInfo, a
}

// review asks the server whose a token is.
func (c *caller) review(token string, audiences ...string) authenticationv1.TokenReviewStatus {
	c.t.Helper()
	var review authenticationv1.TokenReview
	c.must("POST", tokenReviews, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}, &review)
	return review.Status
}

// claims returns what a token says, and header what it says of itself.
func claims(t *testing.T, token string) map[string]any { return part(t, token, 1) }

func header(t *testing.T, token string) map[string]any { return part(t, token, 0) }

func part(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
