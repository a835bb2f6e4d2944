package explanation_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/api/explanation"
	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/test/vectors"
)

// nothing is a store without anything in it.
type nothing struct{ err error }

func (nothing) Life() time.Duration                            { return time.Hour }
func (n nothing) Put(context.Context, map[string][]byte) error { return n.err }
func (n nothing) Get(context.Context, ...string) (map[string][]byte, error) {
	return map[string][]byte{}, n.err
}
func (n nothing) Below(context.Context, string, int) ([]string, [][]byte, int, error) {
	return nil, nil, 0, n.err
}

// knows accepts one token, and certificates by nothing.
type knows struct{ t *testing.T }

func (k knows) VerifyToken(ctx context.Context, token string, _ []string) (*authn.Result, error) {
	if !authn.IsRehearsal(ctx) {
		k.t.Error("a token is judged in earnest")
	}
	if token != "good" {
		return nil, authn.Pass(identity.StaticToken, "no record has this token")
	}
	return &authn.Result{Identity: &identity.Identity{Name: "jane", Credential: identity.Credential{Method: identity.StaticToken}}}, nil
}

// may allows reading, and is near to allowing all else.
type may struct{}

func (may) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	if a.Verb == "get" || a.Verb == "impersonate" && a.Resource == "users" && a.Name != "root" {
		return authz.Answer{Verdict: authz.Allow, Why: authz.Text("may read")}, nil
	}
	return authz.Answer{}, nil
}

func (may) Nearest(a *authz.Attributes, _ int) []authz.Near {
	return []authz.Near{{Binding: "b", Role: "r", Subject: "s", Differs: authz.ByVerb, Has: []string{"get"}, Wants: a.Verb}}
}

func (may) Roles(*authz.Attributes, int) ([]authz.Role, bool) {
	return []authz.Role{{Kind: "ClusterRole", Name: "poster"}}, true
}

type uncounted struct{}

func (uncounted) Impersonated(string, bool, time.Duration)         {}
func (uncounted) ImpersonationChecked(string, bool, time.Duration) {}

func handler(t *testing.T, store nothing) http.Handler {
	log := slog.New(slog.DiscardHandler)
	return explanation.New(&explain.Explainer{
		Book: explain.NewBook("a", store, log), Authorizer: may{}, Impersonation: impersonation.New(may{}, uncounted{}),
		Judge: func(who *identity.Identity) error {
			if who.Name == "revoked" {
				return authn.Refuse("Revocation", "revoked", "jane is not, and revoked is")
			}
			return nil
		},
		Authenticator: authn.Chain(authn.Bearer(authn.Tokens(knows{t}))),
		Attributes: func(r *http.Request) (authz.Attributes, error) {
			return authz.Attributes{Verb: strings.ToLower(r.Method), Path: r.URL.Path}, nil
		},
	}, log)
}

func ask(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const all = "/apis/gatehouse.dev/v1alpha1/explanations"

func of(spec string) string {
	return `{"apiVersion":"gatehouse.dev/v1alpha1","kind":"Explanation","metadata":{"name":"n"},"spec":` + spec + `}`
}

// as is a spec of a good token with headers.
func as(method, headers string) string {
	return `{"token":"good","headers":{` + headers + `},"asRequest":{"method":"` + method + `","path":"/x"}}`
}

func TestTry(t *testing.T) {
	h := handler(t, nothing{})
	for _, tt := range []struct {
		name, spec string
		code       int
		want       []string
	}{
		{"good token", `{"token":"good"}`, 200, []string{`"found":"accepted"`, `"username":"jane"`}},
		{"allowed", `{"token":"good","asRequest":{"method":"GET","path":"/x"}}`, 200, []string{`"allowed":true`, `"reason":"may read"`}},
		{"denied", `{"token":"good","asRequest":{"method":"POST","path":"/x?y=z"}}`, 403, []string{`"allowed":false`, `"differs":"verb"`, `but for the verb`, `"path":"/x"`,
			`"roles":[{"role":"ClusterRole \"poster\"","command":"kubectl create clusterrolebinding jane-poster --clusterrole=poster --user=jane"}]`,
			`"rule":"{nonResourceURLs: [\"/x\"], verbs: [\"post\"]}"`}},
		{"unknown token", `{"token":"bad"}`, 401, []string{`"found":"passed"`, `"kind":"unknown"`}},
		{"bad form", `{"token":"a b"}`, 401, []string{`"kind":"malformed"`, `"mend":`}},
		{"header", `{"headers":{"authorization":["Basic x"]}}`, 401, []string{`Basic is not accepted`}},
		{"the word of a proxy that there is none of", `{"headers":{"x-remote-user":["jane"]}}`, 401,
			[]string{`the header X-Remote-User does not count: no authenticating proxy is configured`, `--requestheader-client-ca-file`}},
		{"not decided without a caller", `{"token":"bad","asRequest":{"method":"GET","path":"/x"}}`, 401, []string{`"method":"GET"`}},
		{"acts as somebody", as("GET", `"Impersonate-User":["joe"]`), 200, []string{`"username":"joe"`, `"impersonator":"jane"`, `"allowed":true`}},
		{"acts as somebody who may not", as("POST", `"impersonate-user":["joe"]`), 403, []string{`"username":"joe"`, `"verb":"post"`, `"differs":"verb"`}},
		{"may not act as him", as("GET", `"Impersonate-User":["root"]`), 403,
			[]string{`"username":"jane"`, `"verb":"impersonate-on:user-info:get"`, `"instead":[{`, `"verb":"impersonate"`, `"name":"root"`, `but for the verb`}},
		{"may not act with a group", as("GET", `"Impersonate-User":["joe"],"Impersonate-Group":["ops"]`), 403, []string{`"username":"jane"`, `"resource":"groups"`}},
		{"acts as nobody", as("GET", `"Impersonate-Group":["ops"]`), 400, []string{`"username":"jane"`, `"found":"refused"`}},
		{"acts with an unknown header", as("GET", `"Impersonate-User":["joe"],"Impersonate-Host":["x"]`), 400, []string{`"found":"refused"`}},
		{"acts as who is revoked", as("GET", `"Impersonate-User":["revoked"]`), 401, []string{`"username":"revoked"`, `"found":"refused"`}},
		{"nobody acts as somebody", strings.Replace(as("GET", `"Impersonate-User":["joe"]`), "good", "bad", 1), 401, []string{`"found":"passed"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(h, "POST", all, of(tt.spec))
			var e explain.Explanation
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusCreated {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if e.Name != "n" || len(e.Status.Requests) != 1 || e.Status.Requests[0].Code != tt.code {
				t.Errorf("%s, want code %d", w.Body, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("no %s in %s", want, w.Body)
				}
			}
			if e.Spec != nil || strings.Contains(w.Body.String(), `"good"`) {
				t.Errorf("repeats the credential: %s", w.Body)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	h := handler(t, nothing{})
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		text                     string
	}{
		{"nothing to judge", "POST", all, of(`{}`), 400, "nothing to judge"},
		{"no spec", "POST", all, `{"apiVersion":"gatehouse.dev/v1alpha1","kind":"Explanation"}`, 400, "no spec"},
		{"another kind", "POST", all, `{"apiVersion":"v1","kind":"Secret","spec":{"token":"s3cret"}}`, 400, "kind Explanation"},
		{"no JSON", "POST", all, `s3cret`, 400, "no JSON"},
		{"wrong type", "POST", all, of(`{"token":["s3cret"]}`), 400, "no JSON"},
		{"unknown field", "POST", all, of(`{"s3cret":"x"}`), 400, "not known"},
		{"twice", "POST", all, of(`{"token":"s3cret","token":"good"}`), 400, "twice"},
		{"two tokens", "POST", all, of(`{"token":"s3cret","headers":{"Authorization":["Bearer s3cret"]}}`), 400, "give one"},
		{"acting as somebody for nothing", "POST", all, of(`{"token":"s3cret","headers":{"impersonate-user":["s3cret"]}}`), 400, "spec.headers has Impersonate-User, and who may act as whom depends on what for: give spec.asRequest too"},
		{"no certificate", "POST", all, of(`{"certificate":"s3cret"}`), 400, "no certificate in PEM"},
		{"bad certificate", "POST", all, of(`{"certificate":"-----BEGIN CERTIFICATE-----\nczNjcmV0\n-----END CERTIFICATE-----\n"}`), 400, "spec.certificate: parsing certificate 1: "},
		{"bad path", "POST", all, of(`{"token":"s3cret","asRequest":{"method":"GET","path":"x"}}`), 400, "begin with a slash"},
		{"another origin", "POST", all, of(`{"token":"s3cret","asRequest":{"method":"GET","path":"https://x/y"}}`), 400, "begin with a slash"},
		{"bad method", "POST", all, of(`{"token":"s3cret","asRequest":{"method":"G T","path":"/x"}}`), 400, "no method"},
		{"too large", "POST", all, of(`{"token":"` + strings.Repeat("s", 600<<10) + `"}`), 413, "limit is"},
		{"list", "GET", all, "", 405, ""},
		{"delete", "DELETE", all + "/x", "", 405, ""},
		{"create with a name", "POST", all + "/x", of(`{"token":"s3cret"}`), 405, ""},
		{"name of two parts", "GET", all + "/x/y", "", 400, "request ID or an audit ID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(h, tt.method, tt.path, tt.body)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.text) || !strings.Contains(w.Body.String(), `"kind":"Status"`) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tt.code, tt.text)
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("repeats what was sent: %s", w.Body)
			}
		})
	}
	r := httptest.NewRequest("POST", all, strings.NewReader(of(`{"token":"good"}`)))
	r.Header.Set("Content-Type", "application/yaml")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("YAML: %d", w.Code)
	}
}

// There is JSON alone: who prefers another encoding gets it as the second best, or
// is told so.
func TestEncodings(t *testing.T) {
	h := handler(t, nothing{})
	for accept, code := range map[string]int{
		"application/vnd.kubernetes.protobuf,application/json":                     201,
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json":            201,
		"application/vnd.kubernetes.protobuf":                                      406,
		"application/yaml":                                                         406,
		"application/json;as=Table;v=v1;g=meta.k8s.io":                             406,
		"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, text/plain": 406,
	} {
		r := httptest.NewRequest("POST", all, strings.NewReader(of(`{"token":"good"}`)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != code || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d", accept, w.Code, w.Body, code)
		}
	}
}

// That there is no record never means that nothing has happened.
func TestAbsence(t *testing.T) {
	w := ask(handler(t, nothing{}), "GET", all+"/none", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `there is no record of \"none\"`) || !strings.Contains(w.Body.String(), `"requests":[]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = ask(handler(t, nothing{errors.New("s3cret address of the store")}), "GET", all+"/none", "")
	if w.Code != 500 || strings.Contains(w.Body.String(), "s3cret") {
		t.Errorf("a store that does not answer: %d %s", w.Code, w.Body)
	}
}

func FuzzCreate(f *testing.F) {
	for _, s := range []string{of(`{"token":"good"}`), of(`{"certificate":"-----BEGIN CERTIFICATE-----"}`), of(`{"headers":{"a\nb":["c"]}}`), `{`, of(`{"asRequest":{"path":"//x"}}`)} {
		f.Add(s)
	}
	h := explanation.New(&explain.Explainer{
		Book: explain.NewBook("a", nothing{}, slog.New(slog.DiscardHandler)), Authorizer: may{}, Authenticator: authn.Chain(authn.Bearer(authn.Tokens())),
		Attributes: func(r *http.Request) (authz.Attributes, error) {
			return authz.Attributes{Verb: r.Method, Path: r.URL.Path}, nil
		},
	}, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, body string) {
		if w := ask(h, "POST", all, body); !json.Valid(w.Body.Bytes()) || w.Code == 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// Who asks about a credential that was issued here is told where it is registered.
func TestRegistered(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, want := range map[string]string{"jti-7": `"registered":"jti-7"`, "": ""} {
		h := explanation.New(&explain.Explainer{
			Book: explain.NewBook("a", nothing{}, log), Authorizer: may{},
			Authenticator: authn.Chain(authn.Bearer(authn.Tokens(knows{t}))),
			Registered: func(_ context.Context, c *identity.Credential) string {
				if c.Method != identity.StaticToken {
					t.Errorf("asked for %+v", c)
				}
				return name
			},
		}, log)
		w := ask(h, "POST", all, of(`{"token":"good"}`))
		if !strings.Contains(w.Body.String(), want) || want == "" && strings.Contains(w.Body.String(), "registered") {
			t.Errorf("%s, want %q", w.Body, want)
		}
		if w := ask(h, "POST", all, of(`{"token":"bad"}`)); strings.Contains(w.Body.String(), "registered") {
			t.Errorf("nobody is registered: %s", w.Body)
		}
	}
}

// Every text of the JSON test suite in what is asked.
func TestQuestionsAreJSON(t *testing.T) {
	h := explanation.New(&explain.Explainer{
		Book: explain.NewBook("a", nothing{}, slog.New(slog.DiscardHandler)), Authorizer: may{}, Authenticator: authn.Chain(authn.Bearer(authn.Tokens())),
		Attributes: func(r *http.Request) (authz.Attributes, error) {
			return authz.Attributes{Verb: r.Method, Path: r.URL.Path}, nil
		},
	}, slog.New(slog.DiscardHandler))
	for _, document := range []string{"%", of("%"), of(`{"token":%}`), of(`{"headers":{"a":%}}`), of(`{"token":"good","more":%}`)} {
		vectors.JSON(t).Check(t, document, false, func(body []byte) error {
			if w := ask(h, "POST", all, string(body)); w.Code >= 300 {
				return errors.New(w.Body.String())
			}
			return nil
		})
	}
}
