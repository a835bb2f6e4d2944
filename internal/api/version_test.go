package api_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The version that is answered at once is the one that the library answers,
// which the path with a slash still comes to, to whoever asks for it in whatever
// way.
func TestVersionIsTheLibrarys(t *testing.T) {
	_, h := start(t, nil)
	ask := func(method, path string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		maps.Copy(r.Header, header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	refused := 0
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "get"} {
		for _, accept := range []string{
			"", "application/json", "application/json, */*", "text/html,*/*;q=0.8", "application/json;as=Table", " application/json ",
			"application/*", "text/plain", "application/jsonx", "application/yaml", "application/vnd.kubernetes.protobuf", ",", "*/*",
			"application/vnd.kubernetes.protobuf,application/json",
		} {
			for _, content := range []string{"", "application/json", "text/plain"} {
				header := http.Header{"Accept": {accept}, "Content-Type": {content}, "Accept-Encoding": {"gzip"}}
				got, want := ask(method, "/version", header), ask(method, "/version/", header)
				if got.Code != want.Code || got.Body.String() != want.Body.String() || got.Header().Get("Content-Type") != want.Header().Get("Content-Type") {
					t.Errorf("%s, %q, %q: %d %v %s, want %d %v %s", method, accept, content,
						got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
				}
				if want.Code != http.StatusOK {
					refused++
				}
			}
		}
	}
	if refused == 0 {
		t.Error("the library refuses nothing")
	}
}
