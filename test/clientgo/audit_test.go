package clientgo_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/test/env"
)

// everything is a policy that records all there is, when it is answered.
const everything = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
`

// An auditLog is the file that a server writes its events to.
type auditLog string

// newAuditedWorld starts a server that records everything, before it answers.
func newAuditedWorld(t *testing.T) (*world, auditLog) {
	t.Helper()
	dir := t.TempDir()
	policy, log := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	if err := os.WriteFile(policy, []byte(everything), 0o600); err != nil {
		t.Fatal(err)
	}
	return newWorld(t, "--audit-policy-file", policy, "--audit-log-path", log, "--audit-log-mode", "blocking"), auditLog(log)
}

func (l auditLog) text(t *testing.T) string {
	t.Helper()
	return string(must[[]byte](t)(os.ReadFile(string(l))))
}

// event returns the one event of that ID. It may be written a moment after the
// caller has its answer.
func (l auditLog) event(t *testing.T, id types.UID) *auditv1.Event {
	t.Helper()
	var found []*auditv1.Event
	env.Eventually(t, "the event of request "+string(id), func() bool {
		found = nil
		for line := range strings.Lines(l.text(t)) {
			if !strings.Contains(line, string(id)) || !strings.HasSuffix(line, "\n") {
				continue
			}
			e := &auditv1.Event{}
			if err := json.Unmarshal([]byte(line), e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			found = append(found, e)
		}
		return len(found) > 0
	})
	if len(found) != 1 || found[0].AuditID != id {
		t.Fatalf("request %s has %d events: %+v", id, len(found), found[0])
	}
	return found[0]
}

// TestSecretsStayOut writes secrets in every way, well and badly, and then looks
// for them where they must not be.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	w, log := newAuditedWorld(t)
	ctx, ns := t.Context(), w.namespace(t)
	const plain, coded = "hunter2-hunter2", "aHVudGVyMi1odW50ZXIy"
	secrets := "/api/v1/namespaces/" + ns + "/secrets"
	for _, request := range []struct {
		method, path, contentType, body string
		code                            int
	}{
		{"POST", secrets, asJSON, `{"metadata":{"name":"a"},"stringData":{"k":"` + plain + `"}}`, 201},
		{"POST", secrets, asYAML, "metadata: {name: b}\ndata: {k: " + coded + "}\n", 201},
		{"PUT", secrets + "/a", asJSON, `{"metadata":{"name":"a"},"data":{"k":"` + coded + `"}}`, 200},
		{"PATCH", secrets + "/a", string(types.MergePatchType), `{"stringData":{"l":"` + plain + `"}}`, 200},
		{"PATCH", secrets + "/a", string(types.StrategicMergePatchType), `{"data":{"l":"` + coded + `"}}`, 200},
		{"PATCH", secrets + "/a", string(types.JSONPatchType), `[{"op":"add","path":"/data/m","value":"` + coded + `"}]`, 200},
		{"PATCH", secrets + "/c?fieldManager=m", string(types.ApplyPatchType), "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\nstringData: {k: " + plain + "}\n", 201},
		{"GET", secrets, "", "", 200},
		{"GET", secrets + "/a", "", "", 200},
		// The error of the library shows the whole object.
		{"PATCH", secrets + "/a", string(types.MergePatchType), `{"type":5}`, 422},
		{"PATCH", secrets + "/a", string(types.MergePatchType), `{"data":{"k":"` + plain + `!"}}`, 422},
		{"PATCH", secrets + "/a", string(types.JSONPatchType), `[{"op":"test","path":"/data/k","value":"` + plain + `"}]`, 422},
		{"PATCH", secrets + "/c?fieldManager=m", string(types.ApplyPatchType), "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ndata: {k: [" + plain + "]}\n", 400},
		{"POST", secrets, asJSON, `{"data":{"k":"` + plain, 400},
		{"POST", secrets, asJSON, `{"k":"` + plain + `"`, 400},
		{"POST", secrets, asJSON, `{"metadata":{"name":"d"},"data":{"k":"` + plain + `"}}`, 400},
		{"POST", secrets, asJSON, `{"metadata":{"name":"d"},"type":"kubernetes.io/dockerconfigjson","stringData":{".dockerconfigjson":"` + plain + `"}}`, 422},
		{"POST", secrets + "?fieldValidation=Strict", asJSON, `{"metadata":{"name":"d"},"stringDate":{"k":"` + plain + `"}}`, 400},
		{"DELETE", secrets + "/b", "", "", 200},
		{"DELETE", secrets, "", "", 200},
	} {
		a := w.send(t, request.method, request.path, request.body, "Content-Type", request.contentType)
		wantAnswer(t, a, request.code)
	}
	must[*corev1.ServiceAccount](t)(w.client(t).CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sa"}}, metav1.CreateOptions{}))
	token := must[*authenticationv1.TokenRequest](t)(w.client(t).CoreV1().ServiceAccounts(ns).CreateToken(ctx, "sa", &authenticationv1.TokenRequest{}, metav1.CreateOptions{}))
	bearer := rest.AnonymousClientConfig(w.admin)
	bearer.BearerToken = token.Status.Token
	a := w.sendAs(t, bearer, "GET", "/version?access_token="+token.Status.Token, "")
	wantAnswer(t, a, 200)
	event := log.event(t, types.UID(a.header.Get("Audit-Id")))
	if user := event.User.Username; user != "system:serviceaccount:"+ns+":sa" || !strings.HasPrefix(event.Annotations["authentication.gatehouse.dev/credential-id"], "JTI=") {
		t.Errorf("event %+v", event)
	}

	_, signature, _ := strings.Cut(token.Status.Token, ".")
	for where, text := range map[string]string{"audit log": log.text(t), "server's log": w.Log()} {
		for line := range strings.Lines(text) {
			for _, secret := range []string{plain, coded, "hunter2", signature} {
				if strings.Contains(line, secret) {
					t.Errorf("the %s has a secret: %s", where, line)
					break
				}
			}
		}
	}
}
