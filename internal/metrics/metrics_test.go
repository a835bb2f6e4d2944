package metrics_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// says knows the tokens that are in it.
type says map[string]*authn.Result

func (s says) VerifyToken(_ context.Context, token string, _ []string) (*authn.Result, error) {
	if res := s[token]; res != nil {
		return res, nil
	}
	return nil, authn.Refuse(authn.AnyBearer, authn.Unknown, "not among them")
}

func TestHandler(t *testing.T) {
	r := metrics.New("v1.2.3")
	r.Authenticated("success", time.Microsecond)
	r.Authenticated("failure", time.Millisecond)
	for range 2 {
		r.Attempted(identity.JWT, "")
		r.Attempted(identity.JWT, authn.Expired)
	}
	r.Attempted("", authn.Other)
	r.Authorized("no-opinion", time.Microsecond)
	r.Impersonated("user-info", true, time.Microsecond)
	r.Impersonated("", false, time.Microsecond)
	r.ImpersonationChecked("legacy", false, time.Microsecond)
	for _, name := range []string{"admin", "jane@example.org", "jane", "system:serviceaccount:ns:admin"} {
		r.Identified(name)
	}
	r.Presented(-time.Second)
	r.Presented(45 * time.Minute)
	r.Tokens(func() (uint64, uint64) { return 12, 2 })
	r.Shed(true)
	r.File("token-auth-file", func() (uint64, uint64, bool) { return 3, 1, true })
	r.Strangers(func() metrics.Strangers {
		return metrics.Strangers{Open: 5, Most: 7, Waiting: 2, Shed: map[string]uint64{"silent": 3, "refused": 1}, Held: 4}
	})
	hooks := r.Webhooks()
	hooks.Called("authentication")("timeout", time.Second)
	hooks.Show("authentication", func() metrics.Webhook { return metrics.Webhook{Calls: 3, Waiting: 2, Down: true} })
	hooks.Show("authorization/gone", func() metrics.Webhook { return metrics.Webhook{} })
	hooks.Called("authorization/gone")("success", time.Second)
	hooks.Gone("authorization/gone")

	r.Passwords(func() metrics.Passwords { return metrics.Passwords{Waiting: 6, Right: 8, Wrong: 9} })

	said := r.Verifying(says{"good": &authn.Result{Identity: &identity.Identity{Name: "jane"}}})
	for _, token := range []string{"good", "bad", "good", "worse", "good"} {
		if res, err := said.VerifyToken(t.Context(), token, nil); (res == nil) != (token != "good") || (err == nil) != (token == "good") {
			t.Errorf("%s: %v, %v", token, res, err)
		}
	}

	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`gatehouse_build_info{version="v1.2.3"} 1`,
		`authentication_attempts{result="success"} 1`,
		`authentication_attempts{result="failure"} 1`,
		`authentication_attempts{result="error"} 0`,
		`gatehouse_authentication_attempts_total{method="JWT",result="accepted"} 2`,
		`gatehouse_authentication_attempts_total{method="JWT",result="expired"} 2`,
		`gatehouse_authentication_attempts_total{method="unknown",result="other"} 1`,
		`authenticated_user_requests{username="admin"} 1`,
		`authenticated_user_requests{username="email_id"} 1`,
		`authenticated_user_requests{username="other"} 2`,
		`apiserver_client_certificate_expiration_seconds_bucket{le="0"} 1`,
		`apiserver_client_certificate_expiration_seconds_bucket{le="1800"} 1`,
		`apiserver_client_certificate_expiration_seconds_bucket{le="3600"} 2`,
		`authentication_token_cache_request_total{status="hit"} 12`,
		`authentication_token_cache_request_total{status="miss"} 2`,
		`authentication_token_cache_fetch_total{status="ok"} 3`,
		`authentication_token_cache_fetch_total{status="error"} 2`,
		`authentication_token_cache_active_fetch_count{status="in_flight"} 0`,
		`authorization_attempts_total{result="no-opinion"} 1`,
		`apiserver_impersonation_attempts_total{decision="allowed",mode="user-info"} 1`,
		`apiserver_impersonation_attempts_total{decision="denied",mode=""} 1`,
		`apiserver_impersonation_authorization_attempts_total{decision="denied",mode="legacy"} 1`,
		`apiserver_impersonation_attempts_duration_seconds_count{decision="allowed",mode="user-info"} 1`,
		`apiserver_dropped_requests_total{request_kind="mutating"} 1`,
		`apiserver_dropped_requests_total{request_kind="readOnly"} 0`,
		`gatehouse_file_reloads_total{file="token-auth-file",status="success"} 3`,
		`gatehouse_file_reloads_total{file="token-auth-file",status="failure"} 1`,
		`gatehouse_file_stale{file="token-auth-file"} 1`,
		`gatehouse_connections_open 5`,
		`gatehouse_connections_most 7`,
		`gatehouse_handshakes_waiting 2`,
		`gatehouse_connections_shed_total{class="silent"} 3`,
		`gatehouse_connections_shed_total{class="refused"} 1`,
		`gatehouse_refusals_held_total 4`,
		`gatehouse_passwords_waiting 6`,
		`gatehouse_passwords_compared_total{result="right"} 8`,
		`gatehouse_passwords_compared_total{result="wrong"} 9`,
		`gatehouse_webhook_calls_total{result="timeout",webhook="authentication"} 1`,
		`gatehouse_webhook_call_duration_seconds_count{webhook="authentication"} 1`,
		`gatehouse_webhook_calls_in_flight{webhook="authentication"} 3`,
		`gatehouse_webhook_calls_waiting{webhook="authentication"} 2`,
		`gatehouse_webhook_down{webhook="authentication"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if strings.Contains(w.Body.String(), "authorization/gone") {
		t.Error("a webhook that is gone is shown")
	}
	if n := w.Body.Len(); n > 64<<10 {
		t.Errorf("%d bytes of metrics; the libraries' own are to be chosen from", n)
	}
}

// A caller is counted on every request, so it must cost nothing.
func TestCountingAllocatesNothing(t *testing.T) {
	r := metrics.New("v1.2.3")
	if n := testing.AllocsPerRun(100, func() { r.Attempted(identity.JWT, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
