package webhook_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/test/divergences"
)

// seed makes each run the same.
const seed = 20

// rounds is how many answers are compared for each version.
func rounds() int {
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		return 55_000 // two versions, so more than 100,000 of each kind
	}
	return 1500
}

func page(t *testing.T) *divergences.Page {
	return divergences.Read(t, filepath.Join("..", "..", "..", "docs", "kubernetes-divergences.md"))
}

// An answer is what the server says once.
type answer struct {
	code int
	body string
}

// A server answers every question with what is next, and keeps the questions.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	next  answer
	asked []string
}

func newServer(t *testing.T) *server {
	klog.LogToStderr(false) // upstream logs each answer that it refuses
	klog.SetOutput(io.Discard)
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(body)))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(s.next.code)
		_, _ = io.WriteString(w, s.next.body)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// will sets the next answer, and forgets the questions.
func (s *server) will(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.asked = a, nil
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// clients returns how upstream and how we reach the server, from one file.
func (s *server) clients(t *testing.T) (*rest.Config, *outcall.Client) {
	t.Helper()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it, contexts: [{name: it, context: {cluster: it, user: me}}],
		clusters: [{name: it, cluster: {server: "%s/a/b/", certificate-authority: ca.crt}}], users: [{name: me, user: {token: abc}}]}`, s.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	theirs.QPS = -1
	target, err := outcall.ReadTarget(path, []byte(text), os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	ours := outcall.New(t.Context(), outcall.Config{Log: slog.New(slog.DiscardHandler)}, target)
	t.Cleanup(ours.Close)
	return theirs, ours
}

// A writer makes answers at random.
type writer struct{ *rand.Rand }

func newWriter() writer { return writer{rand.New(rand.NewPCG(seed, 1))} }

func (w writer) pick(from ...string) string { return from[w.IntN(len(from))] }

// seldom is true once in n times.
func (w writer) seldom(n int) bool { return w.IntN(n) == 0 }

// member writes one member of an object, or nothing.
func (w writer) member(name string, values ...string) []string {
	if w.seldom(4) {
		return nil
	}
	switch {
	case w.seldom(60):
		name = strings.ToUpper(name)
	case w.seldom(60):
		return []string{fmt.Sprintf("%q:%s", name, w.pick(values...)), fmt.Sprintf("%q:%s", name, w.pick(values...))}
	case w.seldom(60):
		return []string{fmt.Sprintf("%q:%s", name, w.pick(`null`, `1`, `"x"`, `[]`, `{}`, `true`, `[1]`, `[null]`, `{"a":null}`))}
	}
	return []string{fmt.Sprintf("%q:%s", name, w.pick(values...))}
}

func object(members ...[]string) string {
	var all []string
	for _, m := range members {
		all = append(all, m...)
	}
	return "{" + strings.Join(all, ",") + "}"
}

// review writes an answer with a status.
func (w writer) review(group, version, kind, status string) answer {
	other := map[string]string{"v1": "v1beta1", "v1beta1": "v1"}[version]
	head := func(name string, good string, others ...string) []string {
		switch {
		case w.seldom(8):
			return nil
		case w.seldom(25):
			return []string{fmt.Sprintf("%q:%q", name, w.pick(others...))}
		}
		return []string{fmt.Sprintf("%q:%q", name, good)}
	}
	body := object(
		head("apiVersion", group+"/"+version, group+"/"+other, "v1", "", "x/v1", group+"/v2"),
		head("kind", kind, "Status", "", "Pod", "TokenReview", "SubjectAccessReview", strings.ToLower(kind)),
		w.member("metadata", `{}`, `{"name":"x"}`, `{"creationTimestamp":null}`),
		w.member("spec", `{}`, `{"token":"x","user":"x"}`),
		w.member("more", `1`, `{"a":[]}`),
		[]string{`"status":` + status},
	)
	switch {
	case w.seldom(100):
		body = body[:w.IntN(len(body))]
	case w.seldom(100):
		body += w.pick("\n", " ", "{}", "x", "null")
	case w.seldom(100):
		body = w.pick("", "null", "[]", "1", `"x"`, "<html>", "---\nkind: "+kind, "\xff", "k8s\x00")
	case w.seldom(100):
		i := w.IntN(len(body))
		body = body[:i] + "\xff" + body[i:]
	}
	code := 200
	if w.seldom(15) {
		code = []int{201, 202, 206, 400, 401, 403, 404, 409, 410, 422}[w.IntN(10)]
	}
	return answer{code, body}
}

// same reports whether two questions are the same, whatever the order of their
// members.
func same(a, b string) bool {
	cut := func(s string) (string, any) {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			return s, nil
		}
		var v any
		_ = json.Unmarshal([]byte(s[i:]), &v)
		return s[:i], v
	}
	headA, bodyA := cut(a)
	headB, bodyB := cut(b)
	return headA == headB && fmt.Sprint(bodyA) == fmt.Sprint(bodyB)
}
