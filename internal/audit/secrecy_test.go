package audit_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/internal/audit"
)

const secret = "s3cret"

func codecs(t testing.TB) serializer.CodecFactory {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme)
}

func TestTokensAreRedacted(t *testing.T) {
	tokens := authenticationv1.SchemeGroupVersion
	for _, tt := range []struct {
		name, uri         string
		gvr               schema.GroupVersionResource
		sub               string
		request, response runtime.Object
		kept              string // what must be in the event all the same
	}{
		{
			"TokenReview", "/apis/authentication.k8s.io/v1/tokenreviews",
			tokens.WithResource("tokenreviews"), "",
			&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: secret, Audiences: []string{"aud"}}},
			&authenticationv1.TokenReview{
				Spec:   authenticationv1.TokenReviewSpec{Token: secret},
				Status: authenticationv1.TokenReviewStatus{Error: "expired"},
			},
			"expired",
		},
		{
			"TokenRequest", "/api/v1/namespaces/ns/serviceaccounts/sa/token",
			corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "token",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"aud"}}},
			&authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
				Token: secret, ExpirationTimestamp: metav1.Now(),
			}},
			"expirationTimestamp",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, everything)
			s := codecs(t)
			serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				kubeaudit.LogRequestObject(ctx, tt.request, tokens, tt.gvr, tt.sub, s)
				kubeaudit.LogResponseObject(ctx, tt.response, tokens, s)
				w.WriteHeader(http.StatusCreated)
			})), incoming("POST", tt.uri, alice()))
			d.one()
			text, err := os.ReadFile(d.file)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"requestObject", "responseObject", "aud", "[redacted]", tt.kept} {
				if !strings.Contains(string(text), want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
			if strings.Contains(string(text), secret) {
				t.Errorf("secret in %s", text)
			}
		})
	}
}

// Who may read the audit log is not who may read Secrets: their values are not
// written, whatever the policy says, and their keys are.
func TestSecretsHaveNoValues(t *testing.T) {
	d := newDesk(t, everything)
	s := codecs(t)
	serve(d.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gv := corev1.SchemeGroupVersion
		kubeaudit.LogRequestObject(r.Context(), &corev1.Secret{StringData: map[string]string{"password": secret}},
			gv, gv.WithResource("secrets"), "", s)
		kubeaudit.LogResponseObject(r.Context(), &corev1.SecretList{Items: []corev1.Secret{{Data: map[string][]byte{"token": []byte(secret)}}}}, gv, s)
		w.WriteHeader(http.StatusCreated)
	})), incoming("POST", "/api/v1/namespaces/ns/secrets", alice()))
	d.one()
	text, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"password":"[redacted]"`, `"token":"[redacted]"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	for _, hidden := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
		if strings.Contains(string(text), hidden) {
			t.Errorf("secret in %s", text)
		}
	}
}

func TestHideValues(t *testing.T) {
	for _, tt := range []struct{ name, raw, want string }{
		{"success", `{"kind":"Status","metadata":{},"status":"Success"}`, `{"kind":"Status","metadata":{},"status":"Success"}`},
		{"refusal", `{"kind":"Status","metadata":{},"message":"m","reason":"Forbidden","code":403}`,
			`{"kind":"Status","metadata":{},"message":"m","reason":"Forbidden","code":403}`},
		{"refusal by a validation", `{"kind":"Status","metadata":{},"message":"m","reason":"Invalid","details":{"kind":"Secret"},"code":422}`,
			`{"kind":"Status","metadata":{},"message":"m","reason":"Invalid","details":{"kind":"Secret"},"code":422}`},
		{"refusal of a patch", `{"kind":"Status","metadata":{},"message":"s","reason":"Invalid","details":{"causes":[{"message":"s","field":"patch"}]},"code":422}`,
			`{"kind":"Status","metadata":{},"message":"[redacted]","reason":"Invalid","details":{"causes":[{"message":"[redacted]","field":"patch"}]},"code":422}`},
		{"refusal of a body", `{"kind":"Status","metadata":{},"message":"s","reason":"BadRequest","code":400}`,
			`{"kind":"Status","metadata":{},"message":"[redacted]","reason":"BadRequest","code":400}`},
		{"error", `{"kind":"Status","metadata":{},"message":"s","code":500}`, `{"kind":"Status","metadata":{},"message":"[redacted]","code":500}`},
		{"Status that is none", `{"kind":"Status","code":"s"}`, ""},
		{"no values", `{"kind":"Secret","metadata":{"name":"a"}}`, `{"kind":"Secret","metadata":{"name":"a"}}`},
		{"values", `{"data":{"a":"cw=="},"stringData":{"b":"s"}}`, `{"data":{"a":"[redacted]"},"stringData":{"b":"[redacted]"}}`},
		{"patch that removes", `{"data":{"a":null}}`, `{"data":{"a":null}}`},
		{"last applied", `{"metadata":{"annotations":{"a":"b","kubectl.kubernetes.io/last-applied-configuration":"{s}"}}}`,
			`{"metadata":{"annotations":{"a":"b","kubectl.kubernetes.io/last-applied-configuration":"[redacted]"}}}`},
		{"list", `{"items":[{"data":{"a":"cw=="}}]}`, `{"items":[{"data":{"a":"[redacted]"}}]}`},
		{"values that are none", `{"data":"s"}`, `{"data":"[redacted]"}`},
		{"values in another case", `{"StringData":{"a":"s"}}`, `{"StringData":{"a":"[redacted]"}}`},
		{"values twice", `{"data":{"a":"s"},"data":{"b":"t"}}`, `{"data":{"b":"[redacted]"}}`},
		{"null and values", `{"data":{"a":"s"},"data":null}`, `{"data":null}`},
		{"table", `{"kind":"Table","rows":[]}`, ""},
		{"JSON patch", `[{"op":"add","path":"/data/a","value":"s"}]`, ""},
		{"no JSON", `data: {a: s}`, ""},
		{"null", `null`, ""},
		{"list that is none", `{"items":{"a":"s"}}`, ""},
		{"item that is none", `{"items":["s"]}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if out := audit.HideValues(&runtime.Unknown{Raw: []byte(tt.raw)}); out != nil {
				got = string(out.Raw)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzHideValues(f *testing.F) {
	for _, seed := range []string{`{"data":{"a":"s"}}`, `{"items":[{"stringData":{"a":1}}]}`, `{"data":[]}`, `{`, `null`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		in := &runtime.Unknown{Raw: []byte(raw)}
		out := audit.HideValues(in)
		if string(in.Raw) != raw {
			t.Error("the object itself was changed")
		}
		if out == nil {
			return
		}
		if again := audit.HideValues(out); again == nil || string(again.Raw) != string(out.Raw) {
			t.Errorf("HideValues(%q) = %q is not final", raw, out.Raw)
		}
	})
}

func TestHideAccessToken(t *testing.T) {
	for _, tt := range []struct{ uri, want string }{
		{"/a", "/a"},
		{"/a?", "/a?"},
		{"/a?watch=true&x=%zz", "/a?watch=true&x=%zz"},
		{"/a?access_token=s", "/a?access_token=[redacted]"},
		{"/a?b=1&access_token=s&c=2&access_token=t", "/a?b=1&access_token=[redacted]&c=2&access_token=[redacted]"},
		{"/a?%61ccess%5ftoken=s", "/a?%61ccess%5ftoken=[redacted]"},
		{"/a?Access_Token=s", "/a?Access_Token=[redacted]"},
		{"/a?b=1;access_token=s", "/a?b=1&access_token=[redacted]"},
	} {
		if got := audit.HideAccessToken(tt.uri); got != tt.want {
			t.Errorf("HideAccessToken(%q) = %q, want %q", tt.uri, got, tt.want)
		}
	}
}

func FuzzHideAccessToken(f *testing.F) {
	for _, seed := range []string{"/a?access_token=s", "/?&&access%5Ftoken=x?y", "?", "/a?access_token", "/a?b=%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		_, query, _ := strings.Cut(audit.HideAccessToken(uri), "?")
		values, _ := url.ParseQuery(query)
		for _, v := range values["access_token"] {
			if v != "[redacted]" {
				t.Errorf("HideAccessToken(%q) keeps %q", uri, v)
			}
		}
	})
}

func FuzzHideToken(f *testing.F) {
	for _, seed := range []string{`{"spec":{"token":"s"}}`, `{"spec":null}`, `{"spec":[]}`, `{`, `{"spec":{"token":1}}`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		in := &runtime.Unknown{Raw: []byte(raw)}
		out := audit.HideToken(in, "spec")
		if string(in.Raw) != raw {
			t.Error("the object itself was changed")
		}
		if out == nil {
			return
		}
		if again := audit.HideToken(out, "spec"); again == nil || string(again.Raw) != string(out.Raw) {
			t.Errorf("HideToken(%q) = %q is not final", raw, out.Raw)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"plain", "a\nb", "\xff", strings.Repeat("x", 2000), "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := audit.Printable(text)
		if len(got) > 1024+len("...") {
			t.Errorf("%d bytes", len(got))
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' }) {
			t.Errorf("Printable(%q) = %q", text, got)
		}
	})
}
