package review_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRefusals(t *testing.T) {
	const good = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"tok-good"}}`
	deep := func(n int) string {
		return `{"kind":"TokenReview","spec":` + strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) + `}`
	}
	const jsonType, yamlType, protoType = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
	for _, tt := range []struct {
		name, uri, contentType, accept, body string
		code                                 int
		want                                 string
	}{
		{"unknown content type", tokenPath, "text/plain", "", good, 415, "the body of the request was in an unknown format"},
		{"unknown accept", tokenPath, jsonType, "text/html", good, 406, "only the following media types are accepted"},
		{"table", tokenPath, jsonType, "application/json;as=Table;v=v1;g=meta.k8s.io", good, 406, "only the following"},
		{"wrong dry run", tokenPath + "?dryRun=yes", jsonType, "", good, 422, "dryRun"},
		{"wrong field validation", tokenPath + "?fieldValidation=strict", jsonType, "", good, 422, "fieldValidation"},
		{"long field manager", tokenPath + "?fieldManager=" + strings.Repeat("x", 129), jsonType, "", good, 422, "fieldManager"},
		{"empty body", tokenPath, jsonType, "", "", 400, "must be of type TokenReview"},
		{"empty YAML", whoamiPath, yamlType, "", "\t", 400, "SelfSubjectReview"},
		{"empty protobuf", tokenPath, protoType, "", "", 400, "empty data"},
		{"JSON as protobuf", tokenPath, protoType, "", good, 400, "does not appear to be a protobuf message"},
		{"truncated protobuf", tokenPath, protoType, "", "k8s\x00\x0a\xff", 400, "must be of type TokenReview"},
		{"truncated JSON", accessPath, jsonType, "", `{"kind":"SubjectAc`, 400, `({"kind":"SubjectAc)`},
		{"trailing JSON", tokenPath, jsonType, "", good + `{}`, 400, "must be of type TokenReview"},
		{"wrong type of field", tokenPath, jsonType, "", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":[]}}`, 400,
			`TokenReview in version "v1" cannot be handled as a TokenReview`},
		{"other kind", tokenPath, jsonType, "", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1"}`, 400,
			`SubjectAccessReview in version "v1" cannot be handled as a TokenReview`},
		{"unknown kind", tokenPath, jsonType, "", `{"kind":"Foo","apiVersion":"v1"}`, 400, `Foo in version "v1" cannot be handled as a TokenReview`},
		{"other version", tokenPath, jsonType, "", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1"}`, 400,
			"the API version in the data (authentication.k8s.io/v1beta1) does not match the expected API version (authentication.k8s.io/v1)"},
		{"strict unknown field", tokenPath + "?fieldValidation=Strict", jsonType, "", `{"spec":{"token":"tok-good","tokn":1}}`, 400,
			`strict decoding error: unknown field "spec.tokn"`},
		{"strict duplicate field", tokenPath + "?fieldValidation=Strict", jsonType, "", `{"spec":{"token":"a","token":"tok-good"}}`, 400,
			`strict decoding error: duplicate field "spec.token"`},
		{"strict YAML duplicate", tokenPath + "?fieldValidation=Strict", yamlType, "", "spec:\n  token: a\n  token: tok-good\n", 400, `key "token" already set`},
		{"strict case", tokenPath + "?fieldValidation=Strict", jsonType, "", `{"Spec":{"token":"tok-good"}}`, 400, `unknown field "Spec"`},
		{"no token", tokenPath, jsonType, "", `{"spec":{}}`, 400, "token is required for TokenReview in authentication"},
		{"no attributes", canIPath, jsonType, "", `{}`, 422, `SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec: `},
		{"no namespace", rulesPath, jsonType, "", `{}`, 400, "no namespace on request"},
		{"metadata of other namespace", localPath, jsonType, "", `{"metadata":{"namespace":"kube-system"}}`, 400, "does not match the namespace sent"},
		{"attributes of other namespace", localPath, jsonType, "",
			`{"spec":{"user":"u","resourceAttributes":{"namespace":"kube-system","verb":"get"}}}`, 400, "spec.resourceAttributes.namespace must match namespace: ns"},
		{"attributes of all namespaces", localPath, jsonType, "",
			`{"spec":{"user":"u","resourceAttributes":{"verb":"get"}}}`, 400, "must match namespace: ns"},
		{"path in namespace", localPath, jsonType, "",
			`{"spec":{"user":"u","nonResourceAttributes":{"path":"/","verb":"get"}}}`, 400, "must match namespace: ns"},
		{"deep JSON", tokenPath, jsonType, "", deep(20000), 400, "exceeded max depth"},
		{"deep YAML", tokenPath, yamlType, "", strings.Repeat("[", 20000), 400, "TokenReview"},
		{"YAML aliases", tokenPath, yamlType, "", aliases(), 400, "TokenReview"},
		{"large body", tokenPath, jsonType, "", `{"spec":{"token":"` + strings.Repeat("a", 3<<20) + `"}}`, 413, "Request entity too large: limit is 3145728"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := post(newHandler(t, newWorld()), tt.uri, tt.contentType, tt.accept, []byte(tt.body))
			var s metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != tt.code || int(s.Code) != tt.code || s.Kind != "Status" || s.Status != "Failure" {
				t.Errorf("code %d, want %d: %+v", w.Code, tt.code, s)
			}
			if !strings.Contains(s.Message, tt.want) {
				t.Errorf("message %q, want %q", s.Message, tt.want)
			}
		})
	}
}

// aliases is a YAML bomb: some bytes that stand for a billion.
func aliases() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	return b.String()
}

// A body without a length must not be read to its end.
func TestEndlessBody(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, tokenPath, endless{})
	r.ContentLength = -1
	w := httptest.NewRecorder()
	newHandler(t, newWorld()).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("code %d, want 413", w.Code)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBrokenBody(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, tokenPath, broken{})
	w := httptest.NewRecorder()
	newHandler(t, newWorld()).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("code %d, want 400", w.Code)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection lost") }
