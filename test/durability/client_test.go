package durability_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/test/tools"
)

// requestLimit is far more than a request takes: only a server that hangs
// should meet it.
const requestLimit = 20 * time.Second

// A client speaks to one server.
type client struct {
	http *http.Client
	base string
}

// connect returns a client with the credentials in a kubeconfig, of its server,
// or of the one at base.
func connect(t *testing.T, kubeconfig, base string) *client {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return connectAs(t, cfg, base)
}

// withToken returns a client that trusts what a kubeconfig does, and has a token.
func withToken(t *testing.T, kubeconfig, base, token string) *client {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg = rest.AnonymousClientConfig(cfg)
	cfg.BearerToken = token
	return connectAs(t, cfg, base)
}

func connectAs(t *testing.T, cfg *rest.Config, base string) *client {
	t.Helper()
	if base == "" {
		base = cfg.Host
	}
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.CloseIdleConnections)
	return &client{http: h, base: base}
}

// A refused request has a code; anything else never got an answer.
type refused struct {
	code    int
	message string
}

func (r *refused) Error() string { return fmt.Sprintf("%d: %s", r.code, r.message) }

// isRefused reports whether the server has answered with a code.
func isRefused(err error, code int) bool {
	var r *refused
	return errors.As(err, &r) && r.code == code
}

// do sends a request, and decodes the answer into out unless that is nil.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		var status metav1.Status
		_ = json.NewDecoder(response.Body).Decode(&status)
		return &refused{response.StatusCode, status.Message}
	}
	if out == nil {
		out = new(json.RawMessage)
	}
	// An answer that was cut off acknowledges nothing.
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// must is do for what has to succeed.
func (c *client) must(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if err := c.do(t.Context(), method, path, in, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// token returns a token of a service account.
func (c *client) token(t *testing.T, namespace, name string) string {
	t.Helper()
	var request struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	c.must(t, "POST", fmt.Sprintf("/api/v1/namespaces/%s/serviceaccounts/%s/token", namespace, name),
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{}}, &request)
	return request.Status.Token
}

// whoami returns the name that the server knows the client by.
func (c *client) whoami(t *testing.T) string {
	t.Helper()
	var review struct {
		Status struct {
			UserInfo struct {
				Username string `json:"username"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	c.must(t, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, &review)
	return review.Status.UserInfo.Username
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"v": value},
	}
}

func secret(name, value string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"v": value},
	}
}

// inventory returns the UID and the content of everything that the tests make,
// by where it is.
func inventory(t *testing.T, c *client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range []string{
		"/api/v1/namespaces", "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/serviceaccounts",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/rbac.authorization.k8s.io/v1/rolebindings",
	} {
		var list struct {
			Items []struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
				Data     map[string]string `json:"data"`
			} `json:"items"`
		}
		c.must(t, "GET", path, nil, &list)
		for _, o := range list.Items {
			all[path+"/"+o.Metadata.Namespace+"/"+o.Metadata.Name] = fmt.Sprintf("%s %v", o.Metadata.UID, o.Data)
		}
	}
	return all
}

// sameInventory fails for every object that is not the same.
func sameInventory(t *testing.T, want, got map[string]string) {
	t.Helper()
	for where, w := range want {
		if got[where] != w {
			t.Errorf("%s is %q, want %q", where, got[where], w)
		}
	}
	for where := range got {
		if _, ok := want[where]; !ok {
			t.Errorf("%s is new", where)
		}
	}
}

// binary is the path of the gatehouse that is tested, once it is built.
var binary struct {
	once sync.Once
	path string
}

func binaryPath(t *testing.T) string {
	binary.once.Do(func() { binary.path = tools.Gatehouse(t) })
	return binary.path
}

// gatehouse runs a command, and returns what it prints and whether it succeeds.
func gatehouse(t *testing.T, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	cmd := exec.Command(binaryPath(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), err == nil
}

// succeed is gatehouse for what has to succeed.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, ok := gatehouse(t, args...)
	if !ok {
		t.Fatalf("gatehouse %s:\n%s", strings.Join(args, " "), stderr)
	}
	return stdout
}

// refuse is gatehouse for what has to fail, with all of the words.
func refuse(t *testing.T, words []string, args ...string) {
	t.Helper()
	_, stderr, ok := gatehouse(t, args...)
	if ok {
		t.Errorf("gatehouse %s was not refused", strings.Join(args, " "))
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			t.Errorf("gatehouse %s does not say %q, but\n%s", strings.Join(args, " "), w, stderr)
		}
	}
}

// eventually waits until ok returns nil, much longer than it should take.
func eventually(t *testing.T, limit time.Duration, what string, ok func() error) time.Duration {
	t.Helper()
	start := time.Now()
	var err error
	for time.Since(start) < limit {
		if err = ok(); err == nil {
			return time.Since(start)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s did not come to pass within %v: %v", what, limit, err)
	return 0
}

// errTooFew is for what eventually waits for.
var errTooFew = errors.New("too few so far")

func fromBase64(s string) string {
	text, _ := base64.StdEncoding.DecodeString(s)
	return string(text)
}
