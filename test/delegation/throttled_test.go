package delegation_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/util/webhook"
	tokenwebhook "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/oidc"
)

// A token that there is no room to look at is asked about again by the webhook of
// Kubernetes, which lets its caller in when there is. More tokens of a new key
// come than may wait, while the provider takes its time to show that key.
func TestThrottledTokenReview(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	p := oidc.New(t, "")
	site := httptest.NewTLSServer(p)
	t.Cleanup(site.Close)
	shown := make(chan struct{})
	show := sync.OnceFunc(func() { close(shown) })
	t.Cleanup(show)
	p.Lock()
	p.Issuer = site.URL
	p.Unlock()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	env.Write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})))
	w := &world{Server: env.Start(t, "--oidc-issuer-url", p.Issuer, "--oidc-client-id", "api", "--oidc-ca-file", ca,
		"--oidc-signing-algs", "ES256", "--oidc-username-prefix", "-", "--api-audiences", "api")}
	old := p.Token(t, "api", nil)
	for start := time.Now(); w.version(t, old) != http.StatusOK; time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > env.Patience {
			t.Fatal("a token of the provider does not count")
		}
	}
	p.Lock()
	p.Keys = append(p.Keys, oidc.NewKey(t, "new", "ES256"))
	p.Unlock()
	tokens := make([]string, 280) // 256 may wait
	for i := range tokens {
		tokens[i] = p.Token(t, "api", map[string]any{"jti": fmt.Sprint(i)})
	}
	p.Lock()
	p.Answer = func(http.ResponseWriter, *http.Request) bool { <-shown; return false }
	p.Unlock()

	config, err := webhook.LoadKubeconfig(w.printed(t)["authentication-token-webhook-config-file"], nil)
	check(t, err)
	var answers []int
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return observed{next, func(code int) {
			answers = append(answers, code)
			show()
		}}
	})
	a, err := tokenwebhook.New(config, "v1", authenticator.Audiences{"api"}, *tokenwebhook.DefaultRetryBackoff())
	check(t, err)

	full := make(chan struct{}, len(tokens))
	var crowd sync.WaitGroup
	for _, token := range tokens {
		crowd.Go(func() {
			if w.version(t, token) == http.StatusServiceUnavailable {
				full <- struct{}{}
			}
		})
	}
	<-full
	res, ok, err := a.AuthenticateToken(t.Context(), tokens[0])
	if err != nil || !ok || res.User.GetName() != "jane" {
		t.Errorf("a good token that was not looked at at once: %+v, %v, %v", res, ok, err)
	}
	if n := len(answers); n < 2 || answers[0] != http.StatusTooManyRequests || answers[n-1] != http.StatusCreated {
		t.Errorf("the API server was answered %v, want 429 and then 201", answers)
	}
	crowd.Wait()
}

// observed tells of each answer.
type observed struct {
	next http.RoundTripper
	tell func(code int)
}

func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := o.next.RoundTrip(r)
	if err == nil {
		o.tell(res.StatusCode)
	}
	return res, err
}

// version asks for the version with a token, on a connection of its own, and
// returns the status.
func (w *world) version(t *testing.T, token string) int {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true} // the test started it
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Address+"/version", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := (&http.Client{Transport: transport, Timeout: env.Patience}).Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}
