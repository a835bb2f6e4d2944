package api_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Whoever asks first, and whoever asks at the same time, gets the whole
// specification, and a hash that leads to the parts of it.
func TestSpecifications(t *testing.T) {
	_, h := start(t, nil)
	var old [4]*httptest.ResponseRecorder
	var work sync.WaitGroup
	for i := range old {
		work.Go(func() { old[i] = do(t, h, "GET", "/openapi/v2", "", "") })
	}
	work.Wait()
	for _, w := range old {
		expect(t, w, 200, `"io.k8s.api.core.v1.ServiceAccount":{`)
		expect(t, w, 200, `"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token":{`)
	}

	w := do(t, h, "GET", "/openapi/v3", "", "")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &index); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	for _, gv := range []string{"api/v1", "apis/rbac.authorization.k8s.io/v1", "apis/authentication.k8s.io/v1", "version"} {
		url := index.Paths[gv].ServerRelativeURL
		if !strings.HasPrefix(url, "/openapi/v3/"+gv+"?hash=") {
			t.Errorf("%s is at %q", gv, url)
			continue
		}
		expect(t, do(t, h, "GET", url, "", ""), 200, `"openapi":"3.0.0"`)
	}
	expect(t, do(t, h, "GET", "/", "", ""), 200, `"/openapi/v3"`)
}
