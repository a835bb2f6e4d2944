package api_test

import (
	"context"
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
	"k8s.io/apiserver/pkg/authentication/user"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/internal/admission"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/etcd"
)

type noTokens struct{}

func (noTokens) RequestToken(context.Context, string, string, *authenticationv1.TokenRequest, bool) (*authenticationv1.TokenRequest, error) {
	return nil, context.Canceled
}

func start(t *testing.T) (*api.API, http.Handler) {
	t.Helper()
	store, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	a, err := api.New(api.Config{
		Client: store.Client(), Prefix: "/registry", Address: "127.0.0.1:6443", Release: "v0.0.0",
		RequestTimeout: time.Minute, Admission: admission.Chain{}, Tokens: noTokens{},
	})
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
		inner.ServeHTTP(w, r.WithContext(genericapirequest.WithUser(r.Context(), &user.DefaultInfo{Name: "tester"})))
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

func TestCreateAndRead(t *testing.T) {
	a, h := start(t)
	w := do(t, h, "POST", "/api/v1/namespaces", "application/json", `{"metadata":{"name":"x"}}`)
	t.Log(w.Code, w.Body)
	w = do(t, h, "POST", "/api/v1/namespaces/x/secrets", "application/json", `{"metadata":{"name":"s"},"stringData":{"a":"b"}}`)
	t.Log(w.Code, w.Body)
	w = do(t, h, "GET", "/api/v1/namespaces/x/secrets", "", "")
	t.Log(w.Code, w.Body)
	w = do(t, h, "GET", "/apis", "", "")
	t.Log(w.Code, w.Body)
	w = do(t, h, "GET", "/version", "", "")
	t.Log(w.Code, w.Body)
	secrets, err := api.ObjectsOf[*corev1.Secret](a, "", "secrets")
	if err != nil {
		t.Fatal(err)
	}
	s, err := secrets.Get(t.Context(), "x", "s")
	t.Log(s, err)
	if err := secrets.Delete(t.Context(), "x", "s", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
}
