package identity_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

const (
	// cutWithin is how long a watch may go on without what let its caller in.
	// It is a matter of 300 ms; the machine may be busy.
	cutWithin = 10 * time.Second
	// streamRounds is how often each way to end a token ends a watch. A round
	// waits for the next look at what is open.
	streamRounds = 2
)

// everybodyWatches lets all who are known watch ConfigMaps.
func (w *world) everybodyWatches() {
	w.t.Helper()
	w.admin.must("POST", rbac+"clusterroles", &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "watcher"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"watch", "list"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}},
	}, nil)
	w.admin.must("POST", rbac+"clusterrolebindings", &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "watcher"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "watcher"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"}},
	}, nil)
}

// A watcher is an open watch.
type watcher struct {
	t *testing.T
	// ended has the last event when the watch has ended, or what went wrong.
	ended chan metav1.Status
}

// watches opens a watch, which sees nothing happen. Headers are names and values.
func (c *caller) watches(headers ...string) *watcher {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), "GET", c.url+inNamespace("default", "configmaps?watch=true&fieldSelector=metadata.name=none"), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("the watch is answered with %s", resp.Status)
	}
	w := &watcher{t: c.t, ended: make(chan metav1.Status, 1)}
	go func() {
		defer resp.Body.Close()
		var last struct {
			Type   string
			Object metav1.Status
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				last.Object.Message = err.Error()
			}
		}
		if err := lines.Err(); err != nil || last.Type != "ERROR" {
			last.Object = metav1.Status{Message: fmt.Sprintf("ended with %v after an event %q", err, last.Type)}
		}
		w.ended <- last.Object
	}()
	return w
}

// ends holds the watch to end with a Status of the code.
func (w *watcher) ends(code int32) {
	w.t.Helper()
	select {
	case status := <-w.ended:
		if status.Code != code {
			w.t.Errorf("the watch has ended with %+v", status)
		}
	case <-time.After(cutWithin):
		w.t.Errorf("the watch goes on after %v", cutWithin)
	}
}

// goesOn holds the watch to be open.
func (w *watcher) goesOn() {
	w.t.Helper()
	select {
	case status := <-w.ended:
		w.t.Errorf("the watch has ended with %+v", status)
	default:
	}
}

// A watch ends with the token that it was opened with, and the watches of others
// go on.
func TestStreamsEndWithToken(t *testing.T) {
	w := start(t, nil, "--enable-bootstrap-token-auth")
	w.namespace("x")
	w.account("x", "sa")
	w.account("x", "bystander")
	w.everybodyWatches()
	bystander := w.as(credential{token: w.token("x", "bystander", "", "")}).watches()
	admin := w.admin.watches()
	for _, tt := range w.endings() {
		t.Run(tt.name, func(t *testing.T) {
			for n := range streamRounds {
				name := fmt.Sprintf("r%d", n)
				who := w.as(credential{token: tt.begin(name)})
				one, two := who.watches(), who.watches()
				tt.end(name)
				one.ends(http.StatusUnauthorized)
				two.ends(http.StatusUnauthorized)
				who.client.CloseIdleConnections()
				if w.clean(name); t.Failed() {
					t.Fatalf("in round %d", n)
				}
			}
		})
	}
	bystander.goesOn()
	admin.goesOn()
}

// A watch ends with a line of a file or a CA that is taken out of it, with the
// groups it was opened with, and with those of the one who acts as somebody else.
func TestStreamsEndWithFile(t *testing.T) {
	first, second := authority.New(t, "first"), authority.New(t, "second")
	w := start(t, map[string]string{
		"tokens.csv": "joes-t0ken,joe,uid-7\nanns-t0ken,ann,uid-8,dev\nbobs-t0ken,bob,uid-9,system:masters\n",
		"ca.pem":     first.PEM() + second.PEM(),
	})
	w.everybodyWatches()
	joe, ann, bob := w.as(credential{token: "joes-t0ken"}), w.as(credential{token: "anns-t0ken"}), w.as(credential{token: "bobs-t0ken"})
	stays, moves, goes := joe.watches(), ann.watches(), bob.watches()
	acts := bob.watches("Impersonate-User", "joe", "Impersonate-Group", "system:authenticated")
	old, current := w.as(credential{cert: first.Sign(t, pkix.Name{CommonName: "jane"}, nil)}), w.as(credential{cert: second.Sign(t, pkix.Name{CommonName: "jim"}, nil)})
	oldStream, currentStream := old.watches(), current.watches()

	w.write("tokens.csv", "joes-t0ken,joe,uid-7\nanns-t0ken,ann,uid-8,ops\nbobs-0ther,bob,uid-9,system:masters\n")
	moves.ends(http.StatusGone)
	goes.ends(http.StatusUnauthorized)
	acts.ends(http.StatusUnauthorized)
	ann.watches() // she begins anew
	oldStream.goesOn()
	w.write("ca.pem", second.PEM())
	oldStream.ends(http.StatusUnauthorized)

	time.Sleep(time.Second) // several looks
	stays.goesOn()
	currentStream.goesOn()
	metrics := w.admin.ask("GET", "/metrics", nil).body
	for _, want := range []string{
		`gatehouse_streams_ended_total{reason="withdrawn"} 3`, `gatehouse_streams_ended_total{reason="changed"} 1`,
		`gatehouse_streams_ended_total{reason="revoked"} 0`, `gatehouse_streams_open 3`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	env.Eventually(t, "the log tells of a stream that was ended", func() bool { return strings.Contains(w.Log(), "a stream was ended") })
	if log := w.Log(); strings.Contains(log, "bobs-t0ken") {
		t.Error("the log says too much")
	}
}

// A watch ends when its certificate does.
func TestStreamsEndWithTime(t *testing.T) {
	ca := authority.New(t, "ca")
	w := start(t, map[string]string{"ca.pem": ca.PEM()})
	w.everybodyWatches()
	cert := ca.Sign(t, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(5 * time.Second) })
	stream := w.as(credential{cert: cert}).watches()
	stream.goesOn()
	stream.ends(http.StatusUnauthorized)
	env.Eventually(t, "the log says why", func() bool { return strings.Contains(w.Log(), "why=expired") })
}

// A watch ends with whatever is revoked of its caller, of whom he acts as, or of
// who acts as him; those of others go on. Each revocation is counted outside the
// store before it is acknowledged.
func TestStreamsEndWithRevocation(t *testing.T) {
	ca := authority.New(t, "ca")
	w := start(t, map[string]string{
		"ca.pem":     ca.PEM(),
		"tokens.csv": "joes-t0ken,joe,uid-7\nanns-t0ken,ann,uid-8,dev\nbobs-t0ken,bob,uid-9,system:masters\n",
	})
	w.namespace("x")
	w.everybodyWatches()
	account := func(name string) *caller {
		w.account("x", name)
		return w.as(credential{token: w.token("x", name, "", "")})
	}
	cert := ca.Sign(t, pkix.Name{CommonName: "jane"}, nil)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	tbs := sha256.Sum256(leaf.RawTBSCertificate)
	other := w.as(credential{cert: ca.Sign(t, pkix.Name{CommonName: "jim"}, nil)})
	w.account("x", "byjti")
	token := w.token("x", "byjti", "", "")
	revocations := "/apis/" + v1alpha1.Group + "/v1alpha1/revocations"
	stays := []*watcher{other.watches(), w.admin.watches()}
	bob := w.as(credential{token: "bobs-t0ken"})
	for n, tt := range []struct {
		name   string
		spec   string
		stream *watcher
	}{
		{"user", `"user":"joe"`, w.as(credential{token: "joes-t0ken"}).watches()},
		{"group", `"group":"dev"`, w.as(credential{token: "anns-t0ken"}).watches()},
		{"service account", `"serviceAccount":{"namespace":"x","name":"byname"}`, account("byname").watches()},
		{"token", `"token":{"issuer":"` + claims(t, token)["iss"].(string) + `","jti":"` + claims(t, token)["jti"].(string) + `"}`, w.as(credential{token: token}).watches()},
		{"certificate", `"certificate":{"tbsSHA256":"` + hex.EncodeToString(tbs[:]) + `"}`, w.as(credential{cert: cert}).watches()},
		{"whom somebody acts as", `"user":"rob"`, bob.watches("Impersonate-User", "rob", "Impersonate-Group", "system:authenticated")},
		{"who acts as somebody", `"user":"bob"`, bob.watches("Impersonate-User", "ron", "Impersonate-Group", "system:authenticated")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.stream.goesOn()
			w.admin.must("POST", revocations, fmt.Sprintf(`{"apiVersion":"%s/v1alpha1","kind":"Revocation","metadata":{"name":"r%d"},"spec":{%s}}`, v1alpha1.Group, n, tt.spec), nil)
			said := time.Now()
			known, err := epoch.ReadFile(filepath.Join(w.DataDir, epoch.FileName))
			if err != nil || known == nil || known.Revoked != int64(n+1) {
				t.Errorf("counted %+v, %v", known, err)
			}
			tt.stream.ends(http.StatusUnauthorized)
			t.Logf("%v after the answer", time.Since(said).Round(time.Millisecond))
		})
	}
	for _, s := range stays {
		s.goesOn()
	}
	if metrics := w.admin.ask("GET", "/metrics", nil).body; !strings.Contains(metrics, `gatehouse_streams_ended_total{reason="revoked"} 7`+"\n") {
		t.Error("the metrics do not count 7")
	}
	// What is lifted is counted as well, and takes nothing away.
	w.admin.must("DELETE", revocations+"/r0", nil, nil)
	if known, err := epoch.ReadFile(filepath.Join(w.DataDir, epoch.FileName)); err != nil || known.Epoch != 8 || known.Revoked != 7 {
		t.Errorf("counted %+v, %v", known, err)
	}
}
