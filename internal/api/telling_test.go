package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/api"
)

// Each write of a resource is told of, and no other one; a write that was told of
// in vain is not acknowledged.
func TestWritten(t *testing.T) {
	var mu sync.Mutex
	var told []bool
	var fails error
	_, h := start(t, func(c *api.Config) {
		c.Written = map[schema.GroupResource]func(context.Context, bool) error{
			{Resource: "configmaps"}: func(_ context.Context, created bool) error {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, created)
				return fails
			},
		}
	})
	const path, body = "/api/v1/namespaces/x/configmaps", `{"metadata":{"name":"a"}}`
	for _, tt := range []struct {
		method, path, body string
		code               int
		told               []bool
	}{
		{"POST", path, body, 201, []bool{true}},
		{"POST", path, body, 409, nil},
		{"POST", path + "?dryRun=All", `{"metadata":{"name":"b"}}`, 201, nil},
		{"GET", path + "/a", "", 200, nil},
		{"PUT", path + "/a", `{"metadata":{"name":"a"},"data":{"k":"v"}}`, 200, []bool{false}},
		{"DELETE", path + "/b", "", 404, nil},
		{"POST", "/api/v1/namespaces/x/secrets", body, 201, nil},
		{"DELETE", path + "/a", "", 200, []bool{false}},
		{"POST", path, body, 201, []bool{true}},
		{"DELETE", path, "", 200, []bool{false}},
	} {
		told = nil
		if w := do(t, h, tt.method, tt.path, "application/json", tt.body); w.Code != tt.code {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
		if !slices.Equal(told, tt.told) {
			t.Errorf("%s %s: told %v", tt.method, tt.path, told)
		}
	}
	// What server-side apply makes is made, and what it changes is changed.
	for i, want := range []bool{true, false} {
		told = nil
		body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"k":"%d"}}`, i)
		w := do(t, h, "PATCH", path+"/applied?fieldManager=test", "application/apply-patch+yaml", body)
		if w.Code > 299 || !slices.Equal(told, []bool{want}) {
			t.Errorf("applying: %d %s, told %v, want %v", w.Code, w.Body, told, want)
		}
	}
	fails = errors.New("no room")
	expect(t, do(t, h, "POST", path, "application/json", body), http.StatusInternalServerError, "it is written, but: no room")
}
