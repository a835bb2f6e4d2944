package durability_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

const explanations = "/apis/gatehouse.dev/v1alpha1/explanations/"

// send makes a request as somebody at a local address, with an audit ID, and
// returns the code and the ID that the server gave it.
func send(t *testing.T, trust *tls.Config, from, url, auditID string, header http.Header) (code int, id string) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{TLSClientConfig: trust, DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("Audit-ID", auditID)
	response, err := (&http.Client{Transport: transport, Timeout: requestLimit}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header.Get("Gatehouse-Request-Id")
}

// TestExplanations asks three processes on one etcd why requests were refused
// that one of them has answered, while a stranger repeats their audit IDs.
func TestExplanations(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	etcds := startCluster(t, 3)
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	c.must(t, "POST", "/api/v1/namespaces", map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "x"}}, nil)
	s.Stop()
	keys := filepath.Join(t.TempDir(), "keys")
	flags := moved(t, append([]string{"migrate", "--data-dir", s.DataDir, "--keys-to", keys}, etcds.flags()...))
	var all []*replica
	for range 3 {
		all = append(all, startReplica(t, s.Kubeconfig, flags))
	}
	a := all[0]
	for _, name := range []string{"kept", "gone"} {
		a.must(t, "POST", "/api/v1/namespaces/x/serviceaccounts", map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": name}}, nil)
	}
	kept, gone := a.token(t, "x", "kept"), a.token(t, "x", "gone")
	var elsewhere struct{ Status struct{ Token string } }
	a.must(t, "POST", "/api/v1/namespaces/x/serviceaccounts/kept/token", map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{"audiences": []string{"vault"}}}, &elsewhere)
	a.must(t, "DELETE", "/api/v1/namespaces/x/serviceaccounts/gone", nil, nil)

	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(s.DataDir, "ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	plain := &tls.Config{RootCAs: roots}
	withCert := &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return strangersCertificate(t), nil }}
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	for i, tt := range []struct {
		name   string
		trust  *tls.Config
		header http.Header
		code   int
		want   []string // all of them in the explanation
	}{
		{"unknown token", plain, bearer("nobodys"), 401, []string{`"kind":"unknown"`, "invalid bearer token"}},
		{"wrong audience", plain, bearer(elsewhere.Status.Token), 401, []string{`"kind":"audience"`, `"got":"[\"vault\"]"`}},
		{"deleted account", plain, bearer(gone), 401, []string{`"kind":"revoked"`, `serviceaccounts x/gone`, `"got":"not found"`}},
		{"bad signature", plain, bearer(kept[:len(kept)-8] + "AAAAAAAA"), 401, []string{`"kind":"bad-proof"`}},
		{"not a bearer token", plain, http.Header{"Authorization": {"Negotiate abc"}}, 401, []string{`"kind":"malformed"`}},
		{"certificate of another CA", withCert, nil, 401, []string{`"kind":"untrusted"`, `CN=mallory`}},
		{"no permission", plain, bearer(kept), 403, []string{`"username":"system:serviceaccount:x:kept"`, `"verb":"list"`, `"resource":"nodes"`}},
	} {
		auditID := fmt.Sprint("case-", i)
		code, id := send(t, tt.trust, "127.0.0.2", a.base+"/api/v1/nodes", auditID, tt.header)
		if code != tt.code || id == "" {
			t.Errorf("%s: answered %d with the ID %q", tt.name, code, id)
			continue
		}
		for n := range 90 {
			send(t, plain, "127.0.0.3", all[n%3].base+"/api/v1/nodes", auditID, bearer("strangers"))
		}
		for _, r := range all {
			for _, name := range []string{id, auditID} {
				checkExplanation(t, r, name, id, tt.want)
			}
		}
	}
	var none explain.Explanation
	a.must(t, "GET", explanations+"never-sent", nil, &none)
	if len(none.Status.Requests) != 0 || !strings.Contains(none.Status.Message, "no record") {
		t.Errorf("what was never sent is explained by %+v", none.Status)
	}
}

// checkExplanation asks a process for the request of an ID, by a name.
func checkExplanation(t *testing.T, r *replica, name, id string, want []string) {
	t.Helper()
	eventually(t, 10*time.Second, "the record of "+name, func() error {
		var found explain.Explanation
		r.must(t, "GET", explanations+name, nil, &found)
		for _, one := range found.Status.Requests {
			if one.ID != id {
				continue
			}
			text, err := json.Marshal(one)
			if err != nil {
				return err
			}
			if one.Peer != "127.0.0.2" {
				return fmt.Errorf("it is of %s", one.Peer)
			}
			for _, w := range want {
				if !strings.Contains(string(text), w) {
					return fmt.Errorf("there is no %s in %s", w, text)
				}
			}
			return nil
		}
		return errors.New("it is not among what is found")
	})
}

// strangersCertificate is one of a CA that nobody trusts.
func strangersCertificate(t *testing.T) *tls.Certificate {
	key := authority.NewKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "mallory"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Error(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
