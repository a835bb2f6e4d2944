package api_test

import "testing"

// There are no custom resources, which is all that is said of them.
func TestCustomResources(t *testing.T) {
	_, h := start(t, nil)
	const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	for _, tt := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", path, 200, `"kind":"CustomResourceDefinitionList"`},
		{"GET", path + "?limit=500", 200, `"items":[]`},
		{"GET", path + "?watch=true", 404, ""},
		{"GET", path + "/a.example.org", 404, ""},
		{"POST", path, 404, ""},
		{"DELETE", path, 404, ""},
		{"GET", "/apis/apiextensions.k8s.io/v1", 404, ""},
	} {
		expect(t, do(t, h, tt.method, tt.path, "application/json", "{}"), tt.code, tt.want)
	}
}
