package issuing_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/issuing"
)

// synctest's clock starts at midnight UTC of 2000-01-01, in seconds:
const start = 946684800

// The claims of each kind of token, to the byte.
func TestClaims(t *testing.T) {
	const plain = `{"aud":["api","https://issuer"],"exp":946688400,"iat":946684800,"iss":"https://issuer","jti":"JTI","kubernetes.io":{"namespace":"ns","serviceaccount":{"name":"sa","uid":"sa-uid"}},"nbf":946684800,"sub":"system:serviceaccount:ns:sa"}`
	with := func(what string) string {
		return strings.Replace(plain, `"namespace":"ns",`, `"namespace":"ns",`+what+`,`, 1)
	}
	extended := func(what string) string {
		s := strings.Replace(with(what), `"exp":946688400`, `"exp":978220800`, 1)
		return strings.Replace(s, `"uid":"sa-uid"}`, `"uid":"sa-uid"},"warnafter":946688407`, 1)
	}
	lasting := func(exp string) string { return strings.Replace(plain, "946688400", exp, 1) }
	const onNode = `"node":{"name":"node","uid":"node-uid"},"pod":{"name":"pod","uid":"pod-uid"}`
	for _, tt := range []struct {
		name     string
		request  *authenticationv1.TokenRequest
		max      time.Duration
		want     string
		expires  int64 // of the status
		warnings []string
	}{
		{name: "defaults", request: request(), want: plain, expires: 3600},
		{name: "audiences", request: request(audiences("vault", "a&b")), expires: 3600,
			want: strings.Replace(plain, `"api","https://issuer"`, `"vault","a\u0026b"`, 1)},
		{name: "shortest", request: request(seconds(600)), want: lasting("946685400"), expires: 600},
		{name: "longest", request: request(seconds(1 << 32)), want: lasting("5241652096"), expires: 1 << 32},
		{name: "shortened", request: request(seconds(7201)), max: 2 * time.Hour, want: lasting("946692000"), expires: 7200,
			warnings: []string{"requested expiration of 7201 seconds shortened to 7200 seconds"}},
		{name: "just short enough", request: request(seconds(7200)), max: 2 * time.Hour, want: lasting("946692000"), expires: 7200},
		{name: "secret", request: request(bound("v1", "Secret", "secret", "")), expires: 3600,
			want: with(`"secret":{"name":"secret","uid":"secret-uid"}`)},
		{name: "node", request: request(bound("v1", "Node", "node", "node-uid")), expires: 3600,
			want: with(`"node":{"name":"node","uid":"node-uid"}`)},
		{name: "pod", request: request(bound("v1", "Pod", "pod", "pod-uid")), want: with(onNode), expires: 3600},
		{name: "pod without a node", request: request(bound("v1", "Pod", "pending", "")), expires: 3600,
			want: with(`"pod":{"name":"pending","uid":"pod-uid"}`)},
		{name: "pod of a node that is gone", request: request(bound("v1", "Pod", "orphan", "")), expires: 3600,
			want: with(`"node":{"name":"gone"},"pod":{"name":"orphan","uid":"pod-uid"}`)},
		{name: "pod of an unknown version", request: request(bound("v9", "Pod", "pod", "")), want: with(onNode), expires: 3600},
		{name: "projected", request: request(bound("v1", "Pod", "pod", ""), seconds(3607)), want: extended(onNode), expires: 3607},
		{name: "projected for one of the audiences", request: request(bound("v1", "Pod", "pod", ""), seconds(3607), audiences("api")), expires: 3607,
			want: strings.Replace(extended(onNode), `"api","https://issuer"`, `"api"`, 1)},
		{name: "projected beyond the maximum", request: request(bound("v1", "Pod", "pod", ""), seconds(3607)), max: time.Hour, expires: 3600,
			want: with(onNode), warnings: []string{"requested expiration of 3607 seconds shortened to 3600 seconds"}},
		{name: "projected ignores a longer maximum", request: request(bound("v1", "Pod", "pod", ""), seconds(3607)), max: 2 * time.Hour,
			want: extended(onNode), expires: 3607},
		{name: "not extended: other audience", request: request(bound("v1", "Pod", "pod", ""), seconds(3607), audiences("api", "vault")), expires: 3607,
			want: strings.Replace(strings.Replace(with(onNode), "946688400", "946688407", 1), `"https://issuer"],`, `"vault"],`, 1)},
		{name: "not extended: no pod", request: request(seconds(3607)), want: lasting("946688407"), expires: 3607},
		{name: "not extended: a second less", request: request(bound("v1", "Pod", "pod", ""), seconds(3606)), expires: 3606,
			want: strings.Replace(with(onNode), "946688400", "946688406", 1)},
		{name: "not extended: a second more", request: request(bound("v1", "Pod", "pod", ""), seconds(3608)), expires: 3608,
			want: strings.Replace(with(onNode), "946688400", "946688408", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens, ring := world(t)
			tokens.MaxLifetime, tokens.ExtendLifetime = tt.max, true
			synctest.Test(t, func(t *testing.T) {
				issued, err := tokens.Issue(t.Context(), "ns", "sa", tt.request, nil)
				if err != nil {
					t.Fatal(err)
				}
				if id, err := uuid.Parse(issued.JTI); err != nil || id.Version() != 4 {
					t.Errorf("JTI %q is no random UUID", issued.JTI)
				}
				got := payload(t, ring, issued.Request.Status.Token)
				want := strings.Replace(tt.want, "JTI", issued.JTI, 1)
				if got != want {
					t.Errorf("claims\n%s, want\n%s", got, want)
				}
				if shown := issued.Request.Status.ExpirationTimestamp.Unix(); shown != start+tt.expires {
					t.Errorf("status shows %d s, want %d s", shown-start, tt.expires)
				}
				var claims struct{ Exp int64 }
				if err := json.Unmarshal([]byte(got), &claims); err != nil || claims.Exp != issued.Expires.Unix() {
					t.Errorf("Expires = %d, want the exp %d", issued.Expires.Unix(), claims.Exp)
				}
				if !slices.Equal(issued.Warnings, tt.warnings) {
					t.Errorf("warnings %q, want %q", issued.Warnings, tt.warnings)
				}
				annotations := map[string]string{"authentication.kubernetes.io/issued-credential-id": "JTI=" + issued.JTI}
				if !maps.Equal(issued.Annotations, annotations) {
					t.Errorf("annotations %q, want %q", issued.Annotations, annotations)
				}
			})
		})
	}
}

func TestNotExtendedUnlessAsked(t *testing.T) {
	tokens, _ := world(t)
	issued, err := tokens.Issue(t.Context(), "ns", "sa", request(bound("v1", "Pod", "pod", ""), seconds(3607)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !issued.Expires.Equal(issued.Request.Status.ExpirationTimestamp.Time) {
		t.Errorf("expires %v, status says %v", issued.Expires, issued.Request.Status.ExpirationTimestamp)
	}
}

// The answer is the request, completed; the request itself is left alone.
func TestAnswer(t *testing.T) {
	tokens, _ := world(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond) // dropped
		asked := request(seconds(601))
		asked.Labels = map[string]string{"l": "v"}
		asked.Status.Token = "forged"
		before := asked.DeepCopy()
		issued, err := tokens.Issue(t.Context(), "ns", "sa", asked, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, asked); diff != "" {
			t.Errorf("the request changed: %s", diff)
		}
		want := before.DeepCopy()
		want.ObjectMeta = meta("ns", "sa", "sa-uid")
		want.Labels = before.Labels
		want.CreationTimestamp = metav1.Unix(start, 0)
		want.Spec.Audiences = []string{"api", "https://issuer"}
		want.Status.Token = issued.Request.Status.Token
		want.Status.ExpirationTimestamp = metav1.Unix(start+601, 0)
		if diff := cmp.Diff(want, issued.Request); diff != "" || issued.Request.Status.Token == "forged" {
			t.Errorf("answer: %s", diff)
		}
		issued.Request.Spec.Audiences[0] = "changed"
		if tokens.Audiences[0] != "api" {
			t.Error("the answer shares its audiences with the configuration")
		}
	})
}

func TestIssueRefuses(t *testing.T) {
	named := func(namespace, name, uid string) func(*authenticationv1.TokenRequest) {
		return func(r *authenticationv1.TokenRequest) { r.ObjectMeta = meta(namespace, name, uid) }
	}
	attested := func(r *authenticationv1.TokenRequest) {
		r.Spec.Attestations = map[string]authenticationv1.AttestationValue{"a": {"b"}}
	}
	const recreated = "does not match the UID in record. The object might have been deleted and then recreated"
	for _, tt := range []struct {
		name    string
		account string // default: sa
		request *authenticationv1.TokenRequest
		code    int32
		message string
	}{
		{"no account", "none", request(), 404, `serviceaccounts "none" not found`},
		{"other name", "", request(named("", "sb", "")), 422,
			`TokenRequest.authentication.k8s.io "sa" is invalid: metadata.name: Invalid value: "sb": must match the service account name if specified`},
		{"other namespace", "", request(named("else", "sa", "")), 422,
			`TokenRequest.authentication.k8s.io "sa" is invalid: metadata.namespace: Invalid value: "else": must match the service account namespace if specified`},
		{"other UID", "", request(named("ns", "sa", "old")), 409,
			`Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "sa": the UID in the token request (old) does not match the UID of the service account (sa-uid)`},
		{"too short", "", request(seconds(599)), 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`},
		{"zero", "", request(seconds(0)), 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 0: may not specify a duration less than 10 minutes`},
		{"negative", "", request(seconds(math.MinInt64)), 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: -9223372036854775808: may not specify a duration less than 10 minutes`},
		{"too long", "", request(seconds(1<<32 + 1)), 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds`},
		{"attestations", "", request(attested), 422,
			`TokenRequest.authentication.k8s.io "" is invalid: spec.attestations: Invalid value: {"a":["b"]}: attestations may only be specified with a webhook bound object reference`},
		{"no pod", "", request(bound("v1", "Pod", "none", "")), 404, `pods "none" not found`},
		{"pod of another namespace", "", request(bound("v1", "Pod", "theirs", "")), 404, `pods "theirs" not found`},
		{"pod of another account", "", request(bound("v1", "Pod", "other", "")), 400,
			`cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.`},
		{"older pod", "", request(bound("v1", "Pod", "pod", "old")), 409,
			`Operation cannot be fulfilled on Pod "pod": the UID in the bound object reference (old) ` + recreated},
		{"no secret", "", request(bound("v1", "Secret", "none", "")), 404, `secrets "none" not found`},
		{"older secret", "", request(bound("v1", "Secret", "secret", "old")), 409,
			`Operation cannot be fulfilled on Secret "secret": the UID in the bound object reference (old) ` + recreated},
		{"no node", "", request(bound("v1", "Node", "none", "")), 404, `nodes "none" not found`},
		{"older node", "", request(bound("v1", "Node", "node", "old")), 409,
			`Operation cannot be fulfilled on Node "node": the UID in the bound object reference (old) ` + recreated},
		{"other kind", "", request(bound("v1", "ConfigMap", "c", "")), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"},
		{"no kind", "", request(bound("", "", "pod", "")), 400, "cannot bind token to object of type /, Kind="},
		{"pod of another group", "", request(bound("metrics.k8s.io/v1", "Pod", "pod", "")), 400,
			"cannot bind token to object of type metrics.k8s.io/v1, Kind=Pod"},
		{"webhook", "", request(bound("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "w", ""), attested), 400,
			"cannot bind token to object of type admissionregistration.k8s.io/v1, Kind=MutatingWebhookConfiguration (feature gate APIServerWebhookAuthenticationToken is disabled)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens, _ := world(t)
			if tt.account == "" {
				tt.account = "sa"
			}
			issued, err := tokens.Issue(t.Context(), "ns", tt.account, tt.request, nil)
			wantStatus(t, err, tt.code, tt.message)
			if issued != nil {
				t.Errorf("issued %q all the same", issued.JTI)
			}
		})
	}
}

func wantStatus(t *testing.T, err error, code int32, message string) {
	t.Helper()
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		t.Fatalf("error %v is no status", err)
	}
	if got := status.Status(); got.Code != code || got.Message != message {
		t.Errorf("status %d %q, want %d %q", got.Code, got.Message, code, message)
	}
}

// failing answers every look-up, or signature, with an error that is no status.
type failing struct{}

func (failing) Sign(context.Context, any, time.Time) (string, error) { return "", errors.New("broken") }

func TestIssueFailsClosed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*issuing.Tokens)
		message string
	}{
		{"accounts", func(tokens *issuing.Tokens) {
			tokens.Objects.ServiceAccounts = func(context.Context, string, string) (*corev1.ServiceAccount, error) {
				return nil, errors.New("broken")
			}
		}, "Internal error occurred: broken"},
		{"pods", func(tokens *issuing.Tokens) {
			tokens.Objects.Pods = func(context.Context, string, string) (*corev1.Pod, error) { return nil, errors.New("broken") }
		}, "Internal error occurred: broken"},
		// That a node is gone is told; that nobody knows, is not taken for it.
		{"nodes", func(tokens *issuing.Tokens) {
			tokens.Objects.Nodes = func(context.Context, string, string) (*corev1.Node, error) {
				return nil, apierrors.NewServiceUnavailable("broken")
			}
		}, "Internal error occurred: broken"},
		{"signer", func(tokens *issuing.Tokens) { tokens.Signer = failing{} }, "Internal error occurred: failed to generate token: broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens, _ := world(t)
			tt.change(tokens)
			_, err := tokens.Issue(t.Context(), "ns", "sa", request(bound("v1", "Pod", "pod", "")), nil)
			wantStatus(t, err, 500, tt.message)
		})
	}
}

func TestAdmit(t *testing.T) {
	tokens, _ := world(t)
	calls := 0
	admit := func(verdict error) issuing.Admit {
		return func(_ context.Context, r *authenticationv1.TokenRequest) error {
			calls++
			if r.Name != "sa" || r.UID != "sa-uid" || *r.Spec.ExpirationSeconds != 3600 || len(r.Spec.Audiences) != 2 {
				t.Errorf("asked about an incomplete request: %+v", r)
			}
			r.Spec.Audiences = []string{"smuggled"}
			return verdict
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "sa", errors.New("no"))
	_, err := tokens.Issue(t.Context(), "ns", "sa", request(), admit(forbidden))
	wantStatus(t, err, 403, `serviceaccounts "sa" is forbidden: no`)
	_, err = tokens.Issue(t.Context(), "ns", "sa", request(), admit(errors.New("broken")))
	wantStatus(t, err, 500, "Internal error occurred: broken")
	issued, err := tokens.Issue(t.Context(), "ns", "sa", request(), admit(nil))
	if err != nil || len(issued.Request.Spec.Audiences) != 2 {
		t.Errorf("admitted: %v, or changed by the plugin", err)
	}
	if _, err := tokens.Issue(t.Context(), "ns", "sa", request(seconds(1)), admit(nil)); err == nil || calls != 3 {
		t.Errorf("%d calls, want 3: none for what is not valid", calls)
	}
}

// Whatever is asked, there is a token or a status, and the token is bound to
// what was asked for.
func FuzzIssue(f *testing.F) {
	tokens, _ := world(f)
	tokens.ExtendLifetime = true
	f.Add("", "", "", int64(3600), "v1", "Pod", "pod", "pod-uid", "api")
	f.Add("sa", "ns", "sa-uid", int64(3607), "v1", "Node", "node", "", "x")
	f.Add("sb", "", "", int64(-1), "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w", "", "")
	f.Add("", "", "", int64(1)<<33, "a/b/c", "Secret", "secret", "u", "\xff")
	f.Fuzz(func(t *testing.T, name, namespace, uid string, n int64, version, kind, object, objectUID, audience string) {
		r := request(seconds(n), bound(version, kind, object, objectUID), audiences(audience))
		r.ObjectMeta = meta(namespace, name, uid)
		issued, err := tokens.Issue(t.Context(), "ns", "sa", r, nil)
		if err != nil {
			if status := apierrors.APIStatus(nil); !errors.As(err, &status) || issued != nil {
				t.Errorf("error %v is no status, or came with a token", err)
			}
			return
		}
		if n < 600 || n > 1<<32 || kind != "Pod" && kind != "Node" && kind != "Secret" {
			t.Errorf("issued for %d seconds, bound to a %q", n, kind)
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	tokens, _ := world(b)
	asked := request(bound("v1", "Pod", "pod", "pod-uid"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Issue(b.Context(), "ns", "sa", asked, nil); err != nil {
			b.Fatal(err)
		}
	}
}
