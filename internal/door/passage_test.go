package door_test

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/internal/door"
)

type callersKey struct{}

// The library's handlers find in the context what the library's filters would
// have put there, and what was there before.
func TestHandlersFindWhatTheyLookFor(t *testing.T) {
	start := time.Now()
	called := false
	h := newDoor(t, func(c *door.Config) {
		c.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			called = true
			ctx := r.Context()
			if info, ok := genericapirequest.RequestInfoFrom(ctx); !ok || info.Resource != "pods" || info.Verb != "list" {
				t.Errorf("request info %+v", info)
			}
			if user, ok := genericapirequest.UserFrom(ctx); !ok || user.GetName() != "jane" {
				t.Errorf("user %v", user)
			}
			if at, ok := genericapirequest.ReceivedTimestampFrom(ctx); !ok || at.Before(start) || at.After(time.Now()) {
				t.Errorf("received at %v", at)
			}
			if ac := kubeaudit.AuditContextFrom(ctx); ac == nil || ac.Enabled() {
				t.Errorf("audit context %v", ac)
			}
			if deadline, ok := ctx.Deadline(); !ok || deadline.Before(start) {
				t.Errorf("deadline %v", deadline)
			}
			if v := ctx.Value(callersKey{}); v != "kept" {
				t.Errorf("the caller's value is %v", v)
			}
			if v := ctx.Value("nothing"); v != nil {
				t.Errorf("found %v", v)
			}
		})
	})
	r := request("GET", "/api/v1/pods")
	answer(h, r.WithContext(context.WithValue(r.Context(), callersKey{}, "kept")))
	if !called {
		t.Fatal("the handler was not called")
	}
}

// What one request is told stays out of another one, and warnings may come from
// anywhere at any time.
func TestWarnings(t *testing.T) {
	h := newDoor(t, func(c *door.Config) {
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var work sync.WaitGroup
			for range 8 {
				work.Go(func() {
					warning.AddWarning(r.Context(), "", "mind "+r.URL.Query().Get("what"))
					warning.AddWarning(r.Context(), "me", "and this")
				})
			}
			work.Wait()
			served(w, r)
		})
	})
	for _, what := range []string{"one", "two"} {
		got := answer(h, request("GET", "/?what="+what)).Header()["Warning"]
		if text := strings.Join(got, ","); len(got) != 2 || !strings.Contains(text, `299 - "mind `+what+`"`) || !strings.Contains(text, `299 me "and this"`) {
			t.Errorf("%s: warnings %q", what, got)
		}
	}
}

// library says what the library makes of a request, each time anew.
func library(r *http.Request) (*genericapirequest.RequestInfo, error) {
	f := genericapirequest.RequestInfoFactory{
		APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"),
	}
	return f.NewRequestInfo(r)
}

func checkInfos(t *testing.T, of func(*http.Request) (*genericapirequest.RequestInfo, error), method, path, query string) {
	t.Helper()
	r := request("GET", "/")
	r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
	want, wantErr := library(r)
	for range 2 {
		got, err := of(r)
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s?%s: %+v, %v, want %+v, %v", method, path, query, got, err, want, wantErr)
		}
	}
}

// What is remembered about one URL is never taken for another.
func TestInfosAreTheLibrarys(t *testing.T) {
	of := door.NewInfos()
	for range 2 {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "PATCH", "get", ""} {
			for _, path := range []string{
				"", "/", "/version", "/api/v1/pods", "/api/v1/pods/", "/api/v1/namespaces/a/pods", "/api/v1/namespaces/a/pods/b/log",
				"/apis/apps/v1/namespaces/a/deployments", "/api/v1/watch/pods", "/api/v1/watch", "/api/v1/proxy", "//api/v1/pods",
				"/api/v1/" + strings.Repeat("x", 600),
			} {
				for _, query := range []string{"", "watch=1", "watch=true&fieldSelector=metadata.name%3Db", "labelSelector=a", "labelSelector=a;b", "%zz", "limit=x&watch"} {
					checkInfos(t, of, method, path, query)
				}
			}
		}
	}
}

func FuzzInfos(f *testing.F) {
	f.Add("GET", "/api/v1/pods", "watch=1")
	f.Add("GETG", "/api/v1/pods\x00", "")
	f.Add("G", "ET/api/v1/pods", "")
	of := door.NewInfos()
	f.Fuzz(func(t *testing.T, method, path, query string) {
		checkInfos(t, of, method, path, query)
		checkInfos(t, of, method, path+query, "")
		checkInfos(t, of, "GET", path, query)
	})
}
