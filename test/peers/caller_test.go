package peers_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// A caller asks servers who it is to them.
type caller struct {
	http.Client
}

// newCaller returns a caller with a client certificate, or without one if
// certFile is empty. Who the server is, is not what these tests are about.
func newCaller(t *testing.T, certFile, keyFile string) *caller {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if certFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{http.Client{Transport: transport, Timeout: env.Patience}}
}

// whoami returns who the server at address takes the sender of header for, as
// "NAME GROUPS EXTRA", or the status of its refusal.
func (c *caller) whoami(address string, header http.Header) (string, error) {
	r, err := http.NewRequest(http.MethodPost, address+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, header)
	res, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return res.Status, nil
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal(body, &review); err != nil {
		return "", fmt.Errorf("%w in %s", err, body)
	}
	return described(review.Status.UserInfo), nil
}

// described leaves out the ID of the credential, which no test can know before.
func described(u authenticationv1.UserInfo) string {
	words := []string{u.Username, strings.Join(u.Groups, ",")}
	for _, key := range slices.Sorted(maps.Keys(u.Extra)) {
		if key != "authentication.kubernetes.io/credential-id" {
			words = append(words, key+"="+strings.Join(u.Extra[key], ","))
		}
	}
	return strings.Join(words, " ")
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

// becomes repeats a question until the answer is want.
func becomes(t *testing.T, want string, ask func() (string, error)) {
	t.Helper()
	for end := time.Now().Add(env.Patience); ; time.Sleep(50 * time.Millisecond) {
		got, err := ask()
		if got == want && err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
}

// A kubectl is the real one, with a kubeconfig and a home of its own.
type kubectl struct {
	path, kubeconfig, home string
	env                    []string
}

func newKubectl(t *testing.T, kubeconfig string) *kubectl {
	t.Helper()
	return &kubectl{path: tools.Kubectl(t, "1.37"), kubeconfig: kubeconfig, home: t.TempDir()}
}

// withUser returns a kubectl for the server at address, whose CA is in caFile.
// User is that part of the kubeconfig, as JSON.
func withUser(t *testing.T, address, caFile, user string) *kubectl {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	env.Write(t, path, env.Kubeconfig(address, env.Read(t, caFile), user))
	return newKubectl(t, path)
}

func (k *kubectl) command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.path, append([]string{"--kubeconfig", k.kubeconfig}, args...)...)
	cmd.Env = append([]string{"HOME=" + k.home, "PATH=/usr/bin:/bin"}, k.env...)
	return cmd
}

// must runs kubectl, which has to succeed, and returns what it prints.
func (k *kubectl) must(t *testing.T, args ...string) string {
	t.Helper()
	cmd := k.command(args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), problems.String())
	}
	return strings.TrimSpace(out.String())
}

// refused runs kubectl, which has to fail and to say want.
func (k *kubectl) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := k.command(args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("kubectl %s: %v\n%s\nwant %q", strings.Join(args, " "), err, out, want)
	}
}

// whoami returns who the caller is, as [caller.whoami] does.
func (k *kubectl) whoami(t *testing.T) string {
	t.Helper()
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(k.must(t, "auth", "whoami", "-o", "json")), &review); err != nil {
		t.Fatal(err)
	}
	return described(review.Status.UserInfo)
}
