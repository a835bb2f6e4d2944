package review_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/util/webhook"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/audit"
)

// answerOf posts body and returns the answer, which must be a 201.
func answerOf[T any](t *testing.T, wd *world, path, body string) T {
	t.Helper()
	w, _ := postJSON(newHandler(t, wd), path, body)
	var answer T
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("code %d, %v: %s", w.Code, err, w.Body)
	}
	return answer
}

// Of a token that nobody got to look at nothing is said, but to ask again. Of one
// that was, or that there was nobody to ask about, it is that it does not count.
func TestThrottledTokenReview(t *testing.T) {
	refuse := func(kind authn.Kind) error { return authn.Refuse("Test", kind, "full") }
	for _, tt := range []struct {
		name string
		said error
		code int
	}{
		{"not looked at", refuse(authn.Throttled), 429},
		{"not looked at by one of two", errorOf(refuse(authn.Unknown), refuse(authn.Throttled)), 429},
		{"bad", refuse(authn.BadProof), 201},
		{"nobody to ask", refuse(authn.Unavailable), 201},
		{"unknown to both", errorOf(refuse(authn.Unknown), refuse(authn.Unknown)), 201},
		{"of no kind", errors.New("full"), 201},
		{"not one of ours", authn.ErrNoCredential, 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wd := newWorld()
			wd.unknown, wd.id = tt.said, "id-1"
			w, _ := postJSON(newHandler(t, wd), tokenPath, `{"spec":{"token":"tok-unknown"}}`)
			if len(wd.kept) != 1 || w.Code != tt.code || wd.kept[0].code != tt.code || len(wd.kept[0].ladder) == 0 {
				t.Fatalf("answered %d, kept %+v", w.Code, wd.kept)
			}
			if tt.code == http.StatusCreated {
				var got authenticationv1.TokenReview
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Status.Authenticated || got.Status.Error == "" || w.Header().Get("Retry-After") != "" {
					t.Errorf("%v, %+v, %v", err, got.Status, w.Header())
				}
				return
			}
			var got metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			err := &apierrors.StatusError{ErrStatus: got}
			if !webhook.DefaultShouldRetry(err) || !apierrors.IsTooManyRequests(err) || w.Header().Get("Retry-After") != "" {
				t.Errorf("the webhook does not ask again in its own time: %v, %s", w.Header(), w.Body)
			}
			if got.Message != "Too many requests: too many tokens wait to be verified; ask again (gatehouse explain id-1)" || strings.Contains(w.Body.String(), "authenticated") {
				t.Errorf("told %s", w.Body)
			}
		})
	}
}

// errorOf returns what a chain says of a token that each of some says this of.
func errorOf(said ...error) error {
	var all []authn.TokenVerifier
	for _, err := range said {
		all = append(all, says{err})
	}
	_, err := authn.Tokens(all...).VerifyToken(context.Background(), "t", nil)
	return err
}

// says refuses every token.
type says struct{ err error }

func (s says) VerifyToken(context.Context, string, []string) (*authn.Result, error) {
	return nil, s.err
}

func TestTokenReview(t *testing.T) {
	for _, tt := range []struct {
		name, spec    string
		authenticated bool
		err           string
		audiences     string
	}{
		{"good", `"token":"tok-good"`, true, "", "api other"},
		{"good for one of two", `"token":"tok-good","audiences":["api","x"]`, true, "", "api"},
		{"without audiences", `"token":"tok-static","audiences":["api"]`, true, "", ""},
		{"expired", `"token":"tok-expired"`, false, "token expired", ""},
		{"nobody's", `"token":"tok-unknown"`, false, "invalid bearer token", ""},
		{"space", `"token":"tok-good "`, false, "invalid bearer token: white space in token", ""},
		{"second word", `"token":"tok-good x"`, false, "invalid bearer token: white space in token", ""},
		{"line", `"token":"tok-good\n"`, false, "invalid bearer token: white space in token", ""},
		{"no-break space", `"token":"\u00a0tok-good"`, false, "invalid bearer token: white space in token", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The status sent along must not come back.
			body := `{"spec":{` + tt.spec + `},"status":{"authenticated":true,"error":"sent","user":{"username":"mallory"}}}`
			s := answerOf[authenticationv1.TokenReview](t, newWorld(), tokenPath, body).Status
			if s.Authenticated != tt.authenticated || s.Error != tt.err || strings.Join(s.Audiences, " ") != tt.audiences {
				t.Errorf("status %+v", s)
			}
			if want := map[bool]string{true: "alice"}[tt.authenticated]; s.User.Username != want {
				t.Errorf("user %q, want %q", s.User.Username, want)
			}
		})
	}
}

func TestTokenReviewForOtherAudience(t *testing.T) {
	// The verifier of the test accepts where it should not.
	w, _ := postJSON(newHandler(t, newWorld()), tokenPath, `{"spec":{"token":"tok-good","audiences":["elsewhere"]}}`)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "alice") {
		t.Errorf("code %d: %s", w.Code, w.Body)
	}
}

func TestAccessReview(t *testing.T) {
	const raw = `"resourceAttributes":{"verb":"list","resource":"pods",`
	for _, tt := range []struct {
		name, spec      string
		allowed, denied bool
		flaw            string
		fields, labels  string
	}{
		{"allow", `"resourceAttributes":{"verb":"get"}`, true, false, "", "", ""},
		{"deny", `"resourceAttributes":{"verb":"delete"}`, false, true, "", "", ""},
		{"no opinion", `"resourceAttributes":{"verb":"list"}`, false, false, "", "", ""},
		{"error", `"resourceAttributes":{"verb":"watch"}`, false, false, "role not found", "", ""},
		{"path", `"nonResourceAttributes":{"verb":"get","path":"/metrics"}`, true, false, "", "", ""},
		{"raw selectors", raw + `"fieldSelector":{"rawSelector":"spec.nodeName=n"},"labelSelector":{"rawSelector":"a in (b,c)"}}`,
			false, false, "", "spec.nodeName=n", "a in (b,c)"},
		{"requirements", raw + `"fieldSelector":{"requirements":[{"key":"a","operator":"In","values":["b,c"]},{"key":"d","operator":"NotIn","values":["e"]}]},
			"labelSelector":{"requirements":[{"key":"k","operator":"Exists"},{"key":"l","operator":"NotIn","values":["m"]}]}}`,
			false, false, "", `a=b\,c,d!=e`, "k,l notin (m)"},
		{"wrong raw selectors", raw + `"fieldSelector":{"rawSelector":"a"},"labelSelector":{"rawSelector":"!!"}}`, false, false,
			"spec.resourceAttributes.fieldSelector ignored due to parse error; spec.resourceAttributes.labelSelector ignored due to parse error", "", ""},
		{"partly wrong", raw + `"fieldSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]},{"key":"d","operator":"Exists"}]},
			"labelSelector":{"requirements":[{"key":"k","operator":"Exists"},{"key":"l","operator":"Near"}]}}`, false, false,
			"spec.resourceAttributes.fieldSelector partially ignored due to parse error; " +
				"spec.resourceAttributes.labelSelector partially ignored due to parse error", "a=b", "k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wd := newWorld()
			s := answerOf[authorizationv1.SelfSubjectAccessReview](t, wd, canIPath,
				`{"spec":{`+tt.spec+`},"status":{"allowed":true}}`).Status
			if s.Allowed != tt.allowed || s.Denied != tt.denied || s.EvaluationError != tt.flaw {
				t.Errorf("status %+v", s)
			}
			if f := wd.facts[0]; f.FieldSelector != tt.fields || f.LabelSelector != tt.labels || f.User.Name != "alice" {
				t.Errorf("facts %+v", f)
			}
		})
	}
}

func TestSubjectAccessReviewFacts(t *testing.T) {
	wd := newWorld()
	answerOf[authorizationv1.SubjectAccessReview](t, wd, accessPath, `{"spec":{
		"user":"bob","uid":"7","groups":["g"],"extra":{"Scope":["s"]},
		"resourceAttributes":{"namespace":"n","verb":"get","group":"apps","resource":"r","subresource":"s","name":"x"}}}`)
	f := wd.facts[0]
	if u := f.User; u.Name != "bob" || u.UID != "7" || u.Groups[0] != "g" || u.Extra["Scope"][0] != "s" || u.Credential.Method != "" {
		t.Errorf("user %+v", u)
	}
	if !f.IsResource || f.Namespace != "n" || f.Verb != "get" || f.APIGroup != "apps" || f.APIVersion != "*" ||
		f.Resource != "r" || f.Subresource != "s" || f.Name != "x" {
		t.Errorf("facts %+v", f)
	}
	answerOf[authorizationv1.SubjectAccessReview](t, wd, accessPath, `{"spec":{"groups":["g"],"nonResourceAttributes":{"verb":"get","path":"/x"}}}`)
	if f := wd.facts[1]; f.IsResource || f.Path != "/x" || f.Verb != "get" {
		t.Errorf("facts %+v", f)
	}
}

func TestRulesReviewWithoutRules(t *testing.T) {
	w, _ := postJSON(newHandler(t, newWorld()), rulesPath, `{"spec":{"namespace":"empty"}}`)
	if !strings.Contains(w.Body.String(), `"status":{"resourceRules":[],"nonResourceRules":[],"incomplete":false}`) {
		t.Errorf("body %s", w.Body)
	}
}

func TestCallerMustBeKnown(t *testing.T) {
	h := newHandler(t, newWorld())
	for path, body := range map[string]string{
		whoamiPath: `{}`, rulesPath: `{"spec":{"namespace":"ns"}}`, canIPath: `{"spec":{"resourceAttributes":{"verb":"get"}}}`,
	} {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "no user present on request") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		r = httptest.NewRequest("POST", path, strings.NewReader(body))
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: "x"})))
		if w.Code != 500 {
			t.Errorf("%s: code %d for a foreign user, want 500", path, w.Code)
		}
	}
}

// recorded sends body through a recorder of the given level and returns the
// answer's code, the one event, and its line in the log.
func recorded(t *testing.T, level, path, body string) (int, auditv1.Event, string) {
	t.Helper()
	dir := t.TempDir()
	c := audit.DefaultConfig()
	c.PolicyFile, c.Log.Path = filepath.Join(dir, "policy"), filepath.Join(dir, "log")
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: " + level + "}]"
	if err := os.WriteFile(c.PolicyFile, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	trail, err := audit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	rec := &audit.Recorder{
		Trail:       trail,
		LongRunning: func(*http.Request, *request.RequestInfo) bool { return false },
		Annotations: func(context.Context) []authn.Annotation { return nil },
		Log:         slog.New(slog.DiscardHandler),
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	factory := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx := request.WithUser(request.WithRequestInfo(r.Context(), info), alice())
	w := httptest.NewRecorder()
	rec.Record(newHandler(t, newWorld())).ServeHTTP(w, r.WithContext(ctx))
	if err := trail.Shutdown(); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(c.Log.Path)
	if err != nil {
		t.Fatal(err)
	}
	var e auditv1.Event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return w.Code, e, string(line)
}

func TestAudit(t *testing.T) {
	const ask = `{"metadata":{"name":"n"},"spec":{"user":"bob","resourceAttributes":{"verb":"get"}}}`
	for _, tt := range []struct {
		level             string
		request, response bool
	}{
		{"Metadata", false, false}, {"Request", true, false}, {"RequestResponse", true, true},
	} {
		t.Run(tt.level, func(t *testing.T) {
			code, e, _ := recorded(t, tt.level, accessPath, ask)
			if code != 201 || e.ResponseStatus.Code != 201 {
				t.Errorf("code %d, event %+v", code, e.ResponseStatus)
			}
			if (e.RequestObject != nil) != tt.request || (e.ResponseObject != nil) != tt.response {
				t.Errorf("request %v, response %v", e.RequestObject, e.ResponseObject)
			}
			if tt.request && !strings.Contains(string(e.RequestObject.Raw), `"kind":"SubjectAccessReview"`) {
				t.Errorf("request %s", e.RequestObject.Raw)
			}
			if tt.response && !strings.Contains(string(e.ResponseObject.Raw), `"allowed":true`) {
				t.Errorf("response %s", e.ResponseObject.Raw)
			}
			if e.ObjectRef.Resource != "subjectaccessreviews" || e.ObjectRef.Name != "n" {
				t.Errorf("object %+v", e.ObjectRef)
			}
		})
	}
}

func TestAuditOfRefusal(t *testing.T) {
	_, e, _ := recorded(t, "RequestResponse", canIPath, `{}`)
	if e.ResponseStatus.Code != 422 || e.ResponseStatus.Reason != "Invalid" || e.ResponseObject == nil {
		t.Errorf("status %+v, response %v", e.ResponseStatus, e.ResponseObject)
	}
}

func TestAuditHidesTokens(t *testing.T) {
	for _, body := range []string{
		`{"spec":{"token":"tok-good"}}`,
		`{"spec":{"token":"tok-good x"}}`,
		`tok-good`,
		`{tok-good`,
		`"tok-good"`,
		`{"kind":"Foo","spec":{"token":"tok-good"}}`,
		`{"spec":{"token":["tok-good"]}}`,
	} {
		_, e, line := recorded(t, "RequestResponse", tokenPath, body)
		if strings.Contains(line, goodToken) || strings.Contains(line, "746f6b2d676f6f64") {
			t.Errorf("%s: token in %s", body, line)
		}
		if e.ResponseStatus.Code == 201 && !strings.Contains(line, "[redacted]") {
			t.Errorf("%s: no review in %s", body, line)
		}
	}
}
