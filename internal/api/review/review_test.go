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
	// unknown is what the verifier says of a token that it does not know.
	unknown error
	// id is that of what the journal keeps, if it does, and kept what that is.
	id   string
	kept []note
}

// A note is what the journal is told of an answer.
type note struct {
	kind      string
	code      int
	audiences []string
	whose     string
	ladder    []authn.Rung
	asked     *authz.Attributes
	reason    string
	err       error
}

func (wd *world) NotAuthenticated(q review.Question, audiences []string, whose *identity.Identity, ladder func() []authn.Rung) string {
	n := note{kind: q.Kind, code: q.Code, audiences: audiences, ladder: ladder()}
	if whose != nil {
		n.whose = whose.Name
	}
	wd.kept = append(wd.kept, n)
	return wd.id
}

func (wd *world) NotAllowed(q review.Question, a *authz.Attributes, reason string, err error) string {
	wd.kept = append(wd.kept, note{kind: q.Kind, asked: a, reason: reason, err: err})
	return wd.id
}

func newWorld() *world {
	return &world{unknown: fmt.Errorf("static: %w", authn.ErrNoCredential)}
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
	return nil, wd.unknown
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
	h, err := review.New(review.Config{Tokens: wd, Access: wd, Rules: wd, Journal: wd, Validate: check})
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
	h, cf := newHandler(t, newWorld()), codecs(t)
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
			w, ws := post(newHandler(t, newWorld()), tokenPath+tt.query, tt.contentType, "", []byte(tt.body))
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
	h := newHandler(t, newWorld())
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
	h := newHandler(t, newWorld())
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
	h := newHandler(t, newWorld())
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
	w, _ := post(newHandler(t, newWorld()), tokenPath, "application/json", "application/vnd.kubernetes.protobuf,application/json", []byte(`{`))
	if w.Header().Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
		t.Fatalf("type %q", w.Header().Get("Content-Type"))
	}
	o, _, err := codecs(t).UniversalDeserializer().Decode(w.Body.Bytes(), nil, nil)
	if s, ok := o.(*metav1.Status); err != nil || !ok || s.Code != 400 {
		t.Errorf("got %+v, %v", o, err)
	}
}
