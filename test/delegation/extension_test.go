package delegation_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes/scheme"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// An extension is an API server of somebody else: the filters of the library
// before a handler that says who came in.
type extension struct{ url string }

// extend starts an extension that asks Gatehouse as the delegator does, and
// accepts the audiences. Nothing is remembered, so that each request asks.
func (w *world) extend(t *testing.T, kubeconfig string, audiences ...string) (*extension, error) {
	t.Helper()
	who := options.NewDelegatingAuthenticationOptions()
	who.RemoteKubeConfigFile, who.CacheTTL = kubeconfig, 0
	authentication := &server.AuthenticationInfo{APIAudiences: audiences}
	serving := &server.SecureServingInfo{}
	if err := who.ApplyTo(authentication, serving, nil); err != nil {
		return nil, err
	}
	go serving.ClientCA.(dynamiccertificates.ControllerRunner).Run(t.Context(), 1)
	may := options.NewDelegatingAuthorizationOptions()
	may.RemoteKubeConfigFile, may.AllowCacheTTL, may.DenyCacheTTL = kubeconfig, 0, 0
	authorization := &server.AuthorizationInfo{}
	if err := may.ApplyTo(authorization); err != nil {
		return nil, err
	}

	codecs := scheme.Codecs
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := request.UserFrom(r.Context())
		fmt.Fprintf(w, "%s %s", u.GetName(), strings.Join(u.GetGroups(), ","))
	})
	h = filters.WithAuthorization(h, authorization.Authorizer, codecs)
	h = filters.WithAuthentication(h, authentication.Authenticator, filters.Unauthorized(codecs), authentication.APIAudiences, authentication.RequestHeaderConfig)
	h = filters.WithRequestInfo(h, &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")})
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return &extension{s.URL}, nil
}

// get returns who the caller is to the extension, or the status of the refusal.
func (e *extension) get(t *testing.T, path string, header http.Header, cert *tls.Certificate) string {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} // the test started it
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: env.Patience}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+path, nil)
	check(t, err)
	maps.Copy(r.Header, header)
	res, err := client.Do(r)
	check(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check(t, err)
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return string(body)
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

const (
	object = "/api/v1/namespaces/default/configmaps/x"
	denied = "403 Forbidden"
	nobody = "401 Unauthorized"
)

func TestDelegation(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"extension", testExtension},
		{"audience", testExtensionWithAnAudience},
		{"trust", testExtensionTrustsWhoGatehouseTrusts},
		{"token webhook", testTokenWebhook},
		{"access webhook", testAccessWebhook},
		// From here on there is less and less that may be.
		{"end", testExtensionSeesTheEnd},
		{"no delegator", testExtensionThatMayNotAsk},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, w) })
	}
}

func testExtension(t *testing.T, w *world) {
	e, err := w.extend(t, w.kubeconfig(t, delegator, ""))
	check(t, err)
	app := w.account(t)
	for _, test := range []struct{ name, path, token, want string }{
		{"jane's object", object, "janes-t0ken", "jane dev,system:authenticated"},
		{"jane's path", "/metrics", "janes-t0ken", "jane dev,system:authenticated"},
		{"another namespace", "/api/v1/namespaces/other/configmaps/x", "janes-t0ken", denied},
		{"another verb", "/api/v1/namespaces/default/configmaps", "janes-t0ken", denied},
		{"another path", "/metrics/cadvisor", "janes-t0ken", denied},
		{"joe", object, "joes-t0ken", denied},
		{"an account", object, w.token(t, app), denied},
		{"a health check", "/healthz", "joes-t0ken", "joe system:authenticated"},
		{"unknown", object, "jacks-t0ken", nobody},
		{"another audience", object, w.token(t, app, "elsewhere"), nobody},
		{"unknown at a health check", "/healthz", "jacks-t0ken", nobody},
	} {
		header := bearer(test.token)
		if got := e.get(t, test.path, header, nil); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if got := e.get(t, object, nil, nil); got != denied {
		t.Errorf("without a credential: %s, want %s", got, denied)
	}
}

// What ends at Gatehouse ends at those who ask it.
func testExtensionSeesTheEnd(t *testing.T, w *world) {
	e, err := w.extend(t, w.kubeconfig(t, delegator, ""))
	check(t, err)
	app := w.account(t)
	token := bearer(w.token(t, app))
	if got := e.get(t, "/healthz", token, nil); !strings.HasPrefix(got, "system:serviceaccount:default:"+app+" ") {
		t.Fatalf("the account is %s", got)
	}
	check(t, w.admin.CoreV1().ServiceAccounts("default").Delete(t.Context(), app, metav1.DeleteOptions{}))
	becomes(t, nobody, func() string { return e.get(t, "/healthz", token, nil) })

	if got := e.get(t, object, bearer("janes-t0ken"), nil); got != "jane dev,system:authenticated" {
		t.Fatalf("jane is %s", got)
	}
	check(t, w.admin.RbacV1().RoleBindings("default").Delete(t.Context(), "readers", metav1.DeleteOptions{}))
	becomes(t, denied, func() string { return e.get(t, object, bearer("janes-t0ken"), nil) })
}

// Tokens for an extension are for it alone.
func testExtensionWithAnAudience(t *testing.T, w *world) {
	e, err := w.extend(t, w.kubeconfig(t, delegator, ""), "extension")
	check(t, err)
	app := w.account(t)
	account := "system:serviceaccount:default:" + app + " system:serviceaccounts,system:serviceaccounts:default,system:authenticated"
	for _, test := range []struct{ name, token, want string }{
		{"for it", w.token(t, app, "extension"), account},
		{"for it among others", w.token(t, app, "elsewhere", "extension"), account},
		{"for Gatehouse", w.token(t, app), nobody},
		{"for another", w.token(t, app, "elsewhere"), nobody},
		{"a static token, which is for Gatehouse", "janes-t0ken", nobody},
	} {
		if got := e.get(t, "/healthz", bearer(test.token), nil); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// An extension learns from Gatehouse which certificates are those of clients and
// of proxies.
func testExtensionTrustsWhoGatehouseTrusts(t *testing.T, w *world) {
	e, err := w.extend(t, w.kubeconfig(t, delegator, ""))
	check(t, err)
	strangers := authority.New(t, "clients")
	claim := http.Header{"X-Remote-User": {"jane"}, "X-Remote-Group": {"dev"}}
	for _, test := range []struct {
		name   string
		by     *authority.Authority
		cn     string
		groups []string
		header http.Header
		want   string
	}{
		// With these it has learned of both.
		{"a client", w.clients, "ann", []string{"dev"}, nil, "ann dev,system:authenticated"},
		{"the proxy", w.proxies, "aggregator", nil, claim, "jane dev,system:authenticated"},
		{"a client who may not", w.clients, "ann", nil, nil, denied},
		{"a client who is revoked", w.clients, revoked, []string{"dev"}, nil, denied},
		{"a client who claims", w.clients, "ann", nil, claim, denied},
		{"a client with the proxy's name", w.clients, "aggregator", nil, claim, denied},
		{"a stranger", strangers, "ann", []string{"dev"}, nil, nobody},
		{"a proxy of another name", w.proxies, "other", nil, claim, nobody},
		{"a stranger with the proxy's name", strangers, "aggregator", nil, claim, nobody},
	} {
		certFile, keyFile := test.by.Issue(t, test.cn, test.groups...)
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		check(t, err)
		becomes(t, test.name+": "+test.want, func() string { return test.name + ": " + e.get(t, object, test.header, &cert) })
	}
}

// Who may not ask gets no answer, and lets nobody in.
func testExtensionThatMayNotAsk(t *testing.T, w *world) {
	if _, err := w.extend(t, w.kubeconfig(t, "bystander", "")); err == nil || !strings.Contains(err.Error(), `User "bystander" cannot`) {
		t.Errorf("an extension without rights starts: %v", err)
	}
	e, err := w.extend(t, w.kubeconfig(t, delegator, ""))
	check(t, err)
	check(t, w.admin.RbacV1().ClusterRoleBindings().Delete(t.Context(), "delegator", metav1.DeleteOptions{}))
	becomes(t, nobody, func() string { return e.get(t, "/healthz", bearer("janes-t0ken"), nil) })
	certFile, keyFile := w.clients.Issue(t, "ann", "dev")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	check(t, err)
	if got := e.get(t, object, nil, &cert); got != "500 Internal Server Error" {
		t.Errorf("a client of whom it may not ask: %s", got)
	}
}

// becomes repeats a question until the answer is want.
func becomes(t *testing.T, want string, ask func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), env.Patience)
	defer cancel()
	for {
		got := ask()
		if got == want {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got %s, want %s", got, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
