package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/api"
)

const revocations = "/apis/gatehouse.dev/v1alpha1/revocations"

func revocation(name, spec string) string {
	return `{"apiVersion":"gatehouse.dev/v1alpha1","kind":"Revocation","metadata":{"name":"` + name + `"},"spec":` + spec + `}`
}

// Our own kinds have all that a client expects of a kind.
func TestRevocations(t *testing.T) {
	var created, changed []string
	a, h := start(t, func(c *api.Config) {
		c.Created = func(resource string, obj metav1.Object) { created = append(created, resource+"/"+obj.GetName()) }
		c.Changed = func(resource string, obj metav1.Object) { changed = append(changed, resource+"/"+obj.GetName()) }
		c.Beside = []metav1.APIResourceList{{GroupVersion: "gatehouse.dev/v1alpha1", APIResources: []metav1.APIResource{{
			Name: "explanations", SingularName: "explanation", Kind: "Explanation", Verbs: metav1.Verbs{"get"},
		}}}}
	})
	for _, tt := range []struct {
		name, method, path, contentType, body string
		code                                  int
		want                                  string
	}{
		{"rehearsed", "POST", revocations + "?dryRun=All", jsonType, revocation("j", `{"user":"jane"}`), 201, `"user":"jane"`},
		{"created", "POST", revocations, jsonType, revocation("j", `{"user":"jane","author":{"username":"root"}}`), 201,
			`"spec":{"user":"jane","reason":"unspecified","author":{"username":"tester"}}`},
		{"by a name of the server's", "POST", revocations, jsonType, strings.Replace(revocation("x-", `{"group":"devs"}`), `"name"`, `"generateName"`, 1), 201, `"name":"x-`},
		{"with the end of its credential", "POST", revocations, jsonType, revocation("t", `{"token":{"issuer":"i","jti":"1"},"credentialExpiresAt":"2031-01-01T00:00:00Z"}`), 201,
			`"expiresAt":"2031-01-01T01:00:00Z"`},
		{"twice", "POST", revocations, jsonType, revocation("j", `{"user":"jane"}`), 409, "already exists"},
		{"two things", "POST", revocations, jsonType, revocation("k", `{"user":"jane","group":"g"}`), 422, "names user and group"},
		{"unknown field", "POST", revocations + "?fieldValidation=Strict", jsonType, revocation("k", `{"usr":"jane"}`), 400, `unknown field \"spec.usr\"`},
		{"read", "GET", revocations + "/j", "", "", 200, `"kind":"Revocation","apiVersion":"gatehouse.dev/v1alpha1"`},
		{"selected", "GET", revocations + "?fieldSelector=spec.user%3Djane", "", "", 200, `"name":"j"`},
		{"selected by what is no field", "GET", revocations + "?fieldSelector=spec.token%3Dx", "", "", 400, "not supported"},
		{"labelled", "PATCH", revocations + "/j", mergeType, `{"metadata":{"labels":{"a":"b"}}}`, 200, `"a":"b"`},
		{"widened", "PATCH", revocations + "/j", mergeType, `{"spec":{"user":"joe"}}`, 422, "field is immutable"},
		{"author changed", "PATCH", revocations + "/j", mergeType, `{"spec":{"author":{"username":"joe"}}}`, 422, "field is immutable"},
		{"applied", "PATCH", revocations + "/s?fieldManager=me", applyType, revocation("s", `{"user":"sam"}`), 201, `"user":"sam"`},
		{"applied again", "PATCH", revocations + "/s?fieldManager=me", applyType, revocation("s", `{"user":"sam"}`), 200, `"user":"sam"`},
		{"put where there is none", "PUT", revocations + "/new", jsonType, revocation("new", `{"user":"joe"}`), 404, "not found"},
		{"discovery", "GET", "/apis/gatehouse.dev/v1alpha1", "", "", 200, `"name":"revocations","singularName":"revocation","namespaced":false,"kind":"Revocation","verbs":["create"`},
		{"discovery of what is beside", "GET", "/apis/gatehouse.dev/v1alpha1", "", "", 200, `"name":"explanations"`},
		{"groups", "GET", "/apis", "", "", 200, `"groupVersion":"gatehouse.dev/v1alpha1"`},
		{"specification", "GET", "/openapi/v3/apis/gatehouse.dev/v1alpha1", "", "", 200, `"dev.gatehouse.v1alpha1.Revocation":{"description":"A Revocation takes back`},
		{"specification of what is beside", "GET", "/openapi/v3/apis/gatehouse.dev/v1alpha1", "", "", 200, `"dev.gatehouse.v1alpha1.ExplanationRung":{"description":"An ExplanationRung is`},
		{"an explanation that has come past the front door", "GET", "/apis/gatehouse.dev/v1alpha1/explanations/x", "", "", 405, "not supported"},
		{"deleted", "DELETE", revocations + "/j", "", "", 200, `"status":"Success"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, do(t, h, tt.method, tt.path, tt.contentType, tt.body), tt.code, tt.want)
		})
	}
	if got := strings.Join(created, " "); !strings.HasPrefix(got, "revocations/j revocations/x-") || !strings.HasSuffix(got, "revocations/t revocations/s") {
		t.Errorf("told of %s as created", got)
	}
	if got := strings.Join(changed, " "); got != "revocations/j revocations/s revocations/j" && got != "revocations/j revocations/j" {
		t.Errorf("told of %s as changed", got)
	}
	objects, err := api.ObjectsOf[*v1alpha1.Revocation](a, "gatehouse.dev", "revocations")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := objects.List(t.Context(), ""); err != nil || len(all) != 3 {
		t.Errorf("%d revocations, %v, want 3", len(all), err)
	}
}

// Who prefers a form that our kinds do not have gets the next that he takes.
func TestForms(t *testing.T) {
	_, h := start(t, nil)
	expect(t, do(t, h, "POST", revocations, jsonType, revocation("j", `{"user":"jane"}`)), 201, "")
	for _, tt := range []struct {
		path, accept string
		code         int
		want         string
	}{
		{revocations, "application/vnd.kubernetes.protobuf,application/json", 200, `"user":"jane"`},
		{revocations + "/j", "application/yaml", 200, "user: jane"},
		{revocations, "application/vnd.kubernetes.protobuf", 406, "Not Acceptable"},
		{revocations, "application/json;as=Table;v=v1;g=meta.k8s.io", 200, `"cells":["j","user jane","unspecified","tester","never"`},
		{"/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", 200, `"resource":"revocations","responseKind":{"group":"","version":"","kind":"Revocation"}`},
	} {
		r := httptest.NewRequest(http.MethodGet, tt.path, nil)
		r.Header.Set("Accept", tt.accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		expect(t, w, tt.code, tt.want)
	}
}
