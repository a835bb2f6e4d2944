package review_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/review"
)

const (
	tokenPath   = "/apis/authentication.k8s.io/v1/tokenreviews"
	whoamiPath  = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	accessPath  = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
	canIPath    = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	rulesPath   = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
	localPath   = "/apis/authorization.k8s.io/v1/namespaces/ns/localsubjectaccessreviews"
	goodToken   = "tok-good"
	tokensGroup = "authentication.k8s.io"
	accessGroup = "authorization.k8s.io"
)

// A world is what the reviews of a test are about.
type world struct {
	asked []string           // audiences of the last token review
	facts []authz.Attributes // of the access reviews
}

func (wd *world) VerifyToken(_ context.Context, token string, audiences []string) (*authn.Result, error) {
	wd.asked = audiences
	switch token {
	case goodToken:
		return &authn.Result{Identity: alice(), Audiences: []string{"api", "other"}}, nil
	case "tok-static":
		return &authn.Result{Identity: alice()}, nil
	case "tok-expired":
		return nil, errors.New("token expired")
	}
	return nil, fmt.Errorf("static: %w", authn.ErrNoCredential)
}

func (wd *world) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	wd.facts = append(wd.facts, *a)
	switch a.Verb {
	case "get":
		return authz.Answer{Verdict: authz.Allow, Why: authz.Text("RBAC: allowed")}, nil
	case "delete":
		return authz.Answer{Verdict: authz.Deny}, nil
	case "watch":
		return authz.Answer{}, errors.New("role not found")
	}
	return authz.Answer{}, nil
}

func (wd *world) RulesFor(_ context.Context, u *identity.Identity, namespace string) (
	[]authorizationv1.ResourceRule, []authorizationv1.NonResourceRule, bool, error) {
	if namespace == "empty" {
		return nil, nil, false, nil
	}
	return []authorizationv1.ResourceRule{{Verbs: []string{"get"}, Resources: []string{u.Name + "@" + namespace}}}, nil,
		true, errors.New("webhook cannot list")
}

// check is a small part of upstream's validation.
func check(o runtime.Object) field.ErrorList {
	var resource, other bool
	switch o := o.(type) {
	case *authorizationv1.SubjectAccessReview:
		resource, other = o.Spec.ResourceAttributes != nil, o.Spec.NonResourceAttributes != nil
	case *authorizationv1.SelfSubjectAccessReview:
		resource, other = o.Spec.ResourceAttributes != nil, o.Spec.NonResourceAttributes != nil
	default:
		return nil
	}
	if resource == other {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), nil, "exactly one")}
	}
	return nil
}

func alice() *identity.Identity {
	return &identity.Identity{
		Name: "alice", UID: "42", Groups: []string{"dev"},
		Extra: map[string][]string{"example.com/team": {"blue"}},
	}
}

func newHandler(t testing.TB, wd *world) *review.Handler {
	t.Helper()
	h, err := review.New(review.Config{Tokens: wd, Access: wd, Rules: wd, Validate: check})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// warnings keeps those of one request.
type warnings struct{ texts []string }

func (ws *warnings) AddWarning(_, text string) { ws.texts = append(ws.texts, text) }

// post sends body to h as alice.
func post(h http.Handler, uri, contentType, accept string, body []byte) (*httptest.ResponseRecorder, []string) {
	r := httptest.NewRequest(http.MethodPost, uri, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	ws := &warnings{}
	ctx := warning.WithWarningRecorder(request.WithUser(r.Context(), alice()), ws)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(ctx))
	return w, ws.texts
}

func postJSON(h http.Handler, uri, body string) (*httptest.ResponseRecorder, []string) {
	return post(h, uri, "application/json", "", []byte(body))
}

func codecs(t testing.TB) serializer.CodecFactory {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme)
}

// TestEncodings sends every review in every encoding and asks for every one.
func TestEncodings(t *testing.T) {
	resource := &authorizationv1.ResourceAttributes{Namespace: "ns", Verb: "get", Resource: "pods"}
	allowed := authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "RBAC: allowed"}
	info := authenticationv1.UserInfo{Username: "alice", UID: "42", Groups: []string{"dev"},
		Extra: map[string]authenticationv1.ExtraValue{"example.com/team": {"blue"}}}
	cases := []struct {
		path, group, kind string
		in                runtime.Object
		want              any // the status
		status            func(runtime.Object) any
	}{
		{
			tokenPath, tokensGroup, "TokenReview",
			&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: goodToken, Audiences: []string{"api"}}},
			authenticationv1.TokenReviewStatus{Authenticated: true, User: info, Audiences: []string{"api"}},
			func(o runtime.Object) any { return o.(*authenticationv1.TokenReview).Status },
		},
		{
			whoamiPath, tokensGroup, "SelfSubjectReview", &authenticationv1.SelfSubjectReview{},
			authenticationv1.SelfSubjectReviewStatus{UserInfo: info},
			func(o runtime.Object) any { return o.(*authenticationv1.SelfSubjectReview).Status },
		},
		{
			accessPath, accessGroup, "SubjectAccessReview",
			&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "bob", ResourceAttributes: resource}},
			allowed,
			func(o runtime.Object) any { return o.(*authorizationv1.SubjectAccessReview).Status },
		},
		{
			localPath, accessGroup, "LocalSubjectAccessReview",
			&authorizationv1.LocalSubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "bob", ResourceAttributes: resource}},
			allowed,
			func(o runtime.Object) any { return o.(*authorizationv1.LocalSubjectAccessReview).Status },
		},
		{
			canIPath, accessGroup, "SelfSubjectAccessReview",
			&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: resource}},
			allowed,
			func(o runtime.Object) any { return o.(*authorizationv1.SelfSubjectAccessReview).Status },
		},
		{
			rulesPath, accessGroup, "SelfSubjectRulesReview",
			&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "ns"}},
			authorizationv1.SubjectRulesReviewStatus{
				ResourceRules: []authorizationv1.ResourceRule{{Verbs: []string{"get"}, Resources: []string{"alice@ns"}}},
				Incomplete:    true, EvaluationError: "webhook cannot list",
			},
			func(o runtime.Object) any { return o.(*authorizationv1.SelfSubjectRulesReview).Status },
		},
	}
	h, cf := newHandler(t, &world{}), codecs(t)
	for _, tt := range cases {
		gvk := schema.GroupVersionKind{Group: tt.group, Version: "v1", Kind: tt.kind}
		for _, from := range cf.SupportedMediaTypes() {
			for _, to := range cf.SupportedMediaTypes() {
				t.Run(tt.kind+" "+from.MediaTypeSubType+" to "+to.MediaTypeSubType, func(t *testing.T) {
					body, err := runtime.Encode(cf.EncoderForVersion(from.Serializer, gvk.GroupVersion()), tt.in)
					if err != nil {
						t.Fatal(err)
					}
					w, ws := post(h, tt.path+"?dryRun=All&fieldManager=me&fieldValidation=Strict", from.MediaType, to.MediaType, body)
					if w.Code != http.StatusCreated || len(ws) != 0 || w.Header().Get("Content-Type") != to.MediaType {
						t.Fatalf("code %d, warnings %q, type %q: %s", w.Code, ws, w.Header().Get("Content-Type"), w.Body)
					}
					got, kind, err := to.Serializer.Decode(w.Body.Bytes(), nil, nil)
					if err != nil || *kind != gvk {
						t.Fatalf("kind %v: %v", kind, err)
					}
					a, b := asJSON(t, tt.status(got)), asJSON(t, tt.want)
					// A list without rules is [] in JSON and absent in protobuf.
					if strings.ReplaceAll(a, "[]", "null") != strings.ReplaceAll(b, "[]", "null") {
						t.Errorf("status %s, want %s", a, b)
					}
				})
			}
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

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
			w, _ := post(newHandler(t, &world{}), tt.uri, tt.contentType, tt.accept, []byte(tt.body))
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
	newHandler(t, &world{}).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("code %d, want 413", w.Code)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBrokenBody(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, tokenPath, broken{})
	w := httptest.NewRecorder()
	newHandler(t, &world{}).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("code %d, want 400", w.Code)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

func TestFieldValidation(t *testing.T) {
	const twice = `{"spec":{"token":"a","token":"tok-good","tokn":1}}`
	for _, tt := range []struct {
		name, query, contentType, body string
		warnings                       string
	}{
		{"warn is the default", "", "application/json", twice, `unknown field "spec.tokn"|duplicate field "spec.token"`},
		{"warn", "?fieldValidation=Warn", "application/json", twice, `unknown field "spec.tokn"|duplicate field "spec.token"`},
		{"ignore", "?fieldValidation=Ignore", "application/json", twice, ""},
		{"warn in YAML", "", "application/yaml", "spec:\n  token: a\n  token: tok-good\n", `line 3: key "token" already set in map`},
		{"ignore in YAML", "?fieldValidation=Ignore", "application/yaml", "spec:\n  token: a\n  token: tok-good\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, ws := post(newHandler(t, &world{}), tokenPath+tt.query, tt.contentType, "", []byte(tt.body))
			if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"authenticated":true`) {
				t.Errorf("code %d: %s", w.Code, w.Body)
			}
			got := strings.Join(ws, "|")
			for _, want := range strings.Split(tt.warnings, "|") {
				if !strings.Contains(got, want) || (want == "" && got != "") {
					t.Errorf("warnings %q, want %q", got, want)
				}
			}
		})
	}
}

func TestMethods(t *testing.T) {
	h := newHandler(t, &world{})
	for _, path := range []string{tokenPath, whoamiPath, accessPath, canIPath, rulesPath, localPath} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if w.Code != 405 || w.Header().Get("Allow") != "POST" ||
				!strings.Contains(w.Body.String(), `"message":"the server does not allow this method on the requested resource","reason":"MethodNotAllowed"`) {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
}

// Only what the caller was authorized for may reach a review.
func TestServes(t *testing.T) {
	h := newHandler(t, &world{})
	for path, want := range map[string]bool{
		tokenPath: true, whoamiPath: true, accessPath: true, canIPath: true, rulesPath: true, localPath: true,
		tokenPath + "/":     false,
		tokenPath + "/name": false,
		"/apis/authentication.k8s.io/v1/watch/tokenreviews":                          false,
		"/apis/authentication.k8s.io/v1/namespaces/ns/tokenreviews":                  false,
		"/apis/authentication.k8s.io/v1beta1/tokenreviews":                           false,
		"/apis/authorization.k8s.io/v1/localsubjectaccessreviews":                    false,
		"/apis/authorization.k8s.io/v1/namespaces//localsubjectaccessreviews":        false,
		"/apis/authorization.k8s.io/v1/namespaces/ns/localsubjectaccessreviews/name": false,
		"/apis/authorization.k8s.io/v1/namespaces/a/b/localsubjectaccessreviews":     false,
		"/apis/authorization.k8s.io/v1/namespaces/ns/subjectaccessreviews":           false,
		"/": false, "": false,
	} {
		if got := h.Serves(path); got != want {
			t.Errorf("Serves(%q) = %v, want %v", path, got, want)
		}
		if !want && path != "" {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", path, nil))
			if w.Code != 404 {
				t.Errorf("%q: code %d, want 404", path, w.Code)
			}
		}
	}
}

func TestPretty(t *testing.T) {
	h := newHandler(t, &world{})
	w, _ := postJSON(h, whoamiPath+"?pretty=true", `{}`)
	if !strings.HasPrefix(w.Body.String(), "{\n  \"kind\": \"SelfSubjectReview\",") {
		t.Errorf("body %s", w.Body)
	}
	r := httptest.NewRequest("GET", tokenPath, nil)
	r.Header.Set("User-Agent", "curl/8")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if !strings.HasPrefix(w.Body.String(), "{\n  \"kind\": \"Status\",") {
		t.Errorf("body %s", w.Body)
	}
}

// An error is told in the encoding that was asked for.
func TestErrorEncoding(t *testing.T) {
	w, _ := post(newHandler(t, &world{}), tokenPath, "application/json", "application/vnd.kubernetes.protobuf,application/json", []byte(`{`))
	if w.Header().Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
		t.Fatalf("type %q", w.Header().Get("Content-Type"))
	}
	o, _, err := codecs(t).UniversalDeserializer().Decode(w.Body.Bytes(), nil, nil)
	if s, ok := o.(*metav1.Status); err != nil || !ok || s.Code != 400 {
		t.Errorf("got %+v, %v", o, err)
	}
}
