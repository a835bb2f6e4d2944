package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/admission"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/etcd"
)

type noTokens struct{}

func (noTokens) RequestToken(context.Context, string, string, *authenticationv1.TokenRequest, bool) (*authenticationv1.TokenRequest, error) {
	return nil, context.Canceled
}

// start returns an API on an empty store, and a handler by which identity asks it.
// Change, which may be nil, changes the configuration.
func start(t *testing.T, change func(*api.Config)) (*api.API, http.Handler) {
	t.Helper()
	store, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	cfg := api.Config{
		Client: store.Client(), Prefix: "/registry", Address: "127.0.0.1:6443", Release: "v0.0.0",
		RequestTimeout: time.Minute, Admission: admission.Chain{}, Authorizer: authz.AlwaysAllow(), Tokens: noTokens{},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := a.Handler()
	h = genericapifilters.WithWarningRecorder(h)
	h = genericapifilters.WithRequestInfo(h, &genericapirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")})
	h = genericapifilters.WithRequestReceivedTimestamp(h)
	h = genericapifilters.WithAuditInit(h)
	inner := h
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(genericapirequest.WithUser(r.Context(), &identity.Identity{Name: "tester"})))
	})
	return a, h
}

func do(t *testing.T, h http.Handler, method, path, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// expect fails the test unless the answer has the code and the text.
func expect(t *testing.T, w *httptest.ResponseRecorder, code int, text string) {
	t.Helper()
	var flat bytes.Buffer
	if json.Compact(&flat, w.Body.Bytes()) != nil {
		flat = *w.Body
	}
	if w.Code != code || !strings.Contains(flat.String(), text) {
		t.Errorf("answered %d %s, want %d with %s", w.Code, flat.String(), code, text)
	}
}

func TestCreateAndRead(t *testing.T) {
	a, h := start(t, nil)
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/api/v1/namespaces", `{"metadata":{"name":"x"}}`, 201, `"phase":"Active"`},
		{"POST", "/api/v1/namespaces/x/secrets", `{"metadata":{"name":"s"},"stringData":{"a":"b"}}`, 201, `"data":{"a":"Yg=="}`},
		{"GET", "/api/v1/namespaces/x/secrets", "", 200, `"name":"s"`},
		{"GET", "/apis", "", 200, `"rbac.authorization.k8s.io"`},
		{"GET", "/version", "", 200, `"major"`},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"spec":{"token":"t"}}`, 405, "MethodNotAllowed"},
	} {
		expect(t, do(t, h, tt.method, tt.path, "application/json", tt.body), tt.code, tt.want)
	}
	secrets, err := api.ObjectsOf[*corev1.Secret](a, "", "secrets")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := secrets.Get(t.Context(), "x", "s"); err != nil || string(s.Data["a"]) != "b" {
		t.Errorf("got %v, %v", s, err)
	}
	if err := secrets.Delete(t.Context(), "x", "s", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
}
