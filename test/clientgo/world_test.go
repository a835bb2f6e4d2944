package clientgo_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/test/env"
)

const (
	asJSON     = runtime.ContentTypeJSON
	asYAML     = runtime.ContentTypeYAML
	asProtobuf = runtime.ContentTypeProtobuf
)

// A world is one server and the ways to speak to it.
type world struct {
	*env.Server
	admin *rest.Config
	http  *http.Client // as the administrator
}

// people are the callers who are not the administrator. They may do what a test
// lets them.
var people = []string{"alice", "bob", "carol", "dave", "erin", "frank"}

// newWorld starts a server with more flags than it needs.
func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	var tokens strings.Builder
	for _, name := range people {
		fmt.Fprintf(&tokens, "%s-token,%s,%s-uid,\"team-%s\"\n", name, name, name, name)
	}
	file := filepath.Join(t.TempDir(), "tokens.csv")
	env.Write(t, file, tokens.String())
	s := env.Start(t, append([]string{"--token-auth-file", file}, flags...)...)
	return &world{Server: s, admin: s.Config(), http: s.Client()}
}

// as returns the configuration of one of people.
func (w *world) as(name string) *rest.Config {
	c := rest.AnonymousClientConfig(w.admin)
	c.QPS = -1
	c.BearerToken = name + "-token"
	return c
}

// typed returns a client that speaks one content type.
func typed(t *testing.T, c *rest.Config, contentType string) *kubernetes.Clientset {
	t.Helper()
	c = rest.CopyConfig(c)
	c.ContentType = contentType
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// client is the administrator's, in protobuf, as most controllers have it.
func (w *world) client(t *testing.T) *kubernetes.Clientset { return typed(t, w.admin, asProtobuf) }

// serial makes names unique in the process.
var serial atomic.Int64

// namespace makes a namespace for the test. It is left behind.
func (w *world) namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("test-%d", serial.Add(1))}}
	if _, err := w.client(t).CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// An answer is what came back for a request.
type answer struct {
	code   int
	header http.Header
	body   string
}

// send sends a request as the administrator. The headers are pairs of a name
// and a value.
func (w *world) send(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	return exchange(t, w.http, method, w.Address+path, body, headers)
}

// sendAs sends a request as somebody else.
func (w *world) sendAs(t *testing.T, c *rest.Config, method, path, body string, headers ...string) answer {
	t.Helper()
	return exchange(t, must[*http.Client](t)(rest.HTTPClientFor(c)), method, w.Address+path, body, headers)
}

func exchange(t *testing.T, client *http.Client, method, url, body string, headers []string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// A refusal is what a Status has to say. An empty message is not looked at, and
// otherwise has to be a part of the real one.
type refusal struct {
	code    int32
	reason  metav1.StatusReason
	message string
}

// wantRefusal checks that err is the Status that was expected.
func wantRefusal(t *testing.T, err error, want refusal) *metav1.Status {
	t.Helper()
	status, ok := err.(apierrors.APIStatus) //nolint:errorlint // client-go returns it bare
	if !ok {
		t.Fatalf("got %v, want a refusal: %d %s %q", err, want.code, want.reason, want.message)
	}
	got := status.Status()
	if got.Code != want.code || got.Reason != want.reason || !strings.Contains(got.Message, want.message) {
		t.Errorf("got    %d %s %q\nwanted %d %s %q", got.Code, got.Reason, got.Message, want.code, want.reason, want.message)
	}
	return &got
}

// must returns v if there was no error.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ptr[T any](v T) *T { return &v }

// configMap is an object without any meaning.
func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}

// wantAnswer checks the code of an answer, and that its body has all the parts.
func wantAnswer(t *testing.T, a answer, code int, parts ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("got %d, want %d: %s", a.code, code, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("%q is not in %s", part, a.body)
		}
	}
}
