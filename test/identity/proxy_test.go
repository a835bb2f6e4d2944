package identity_test

import (
	"crypto/x509/pkix"
	"encoding/base64"
	"net/http"
	"reflect"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// proxied are flags that believe proxies of the CA in the file proxies.pem.
var proxied = []string{
	"--requestheader-client-ca-file=DIR/proxies.pem", "--requestheader-allowed-names=front", "--requestheader-username-headers=X-Remote-User",
	"--requestheader-uid-headers=X-Remote-Uid", "--requestheader-group-headers=X-Remote-Group,Groups", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
}

func TestFrontProxy(t *testing.T) {
	proxies, clients := authority.New(t, "proxies"), authority.New(t, "clients")
	w := start(t, map[string]string{
		"proxies.pem": proxies.PEM(), "ca.pem": clients.PEM(), "tokens.csv": "joes-t0ken,joe,uid-7\n",
	}, append([]string(nil), proxied...)...)
	front := proxies.Sign(t, pkix.Name{CommonName: "front"}, nil)
	claim := http.Header{
		"X-Remote-User": {"jane"}, "X-Remote-Uid": {"7"}, "X-Remote-Group": {"dev"}, "Groups": {"ops"}, "X-Remote-Extra-Example.org%2fteam": {"red"},
		"X_Remote_Group": {"system:masters"}, "X-Remote-Groups": {"system:masters"},
	}
	jane := authenticationv1.UserInfo{
		Username: "jane", UID: "7", Groups: []string{"dev", "ops", "system:authenticated"}, Extra: extra{"example.org/team": {"red"}},
	}
	joe := authenticationv1.UserInfo{Username: "joe", UID: "uid-7", Groups: []string{"system:authenticated"}}
	client := clients.Sign(t, pkix.Name{CommonName: "ann"}, nil)
	for _, test := range []struct {
		name string
		credential
		want authenticationv1.UserInfo // without a name if refused
	}{
		{"proxy", credential{cert: front, header: claim}, jane},
		{"proxy over HTTP/1", credential{cert: front, header: claim, http1: true}, jane},
		{"proxy with a token", credential{cert: front, header: claim, token: "joes-t0ken"}, jane},
		{"proxy with a bad token", credential{cert: front, header: claim, token: "no"}, jane},
		{"proxy that names nobody, with a token", credential{cert: front, token: "joes-t0ken"}, joe},
		{"proxy that names nobody", credential{cert: front}, authenticationv1.UserInfo{}},
		{"proxy that names two", credential{cert: front, header: http.Header{"X-Remote-User": {"jane", "root"}}}, authenticationv1.UserInfo{}},
		{"other name", credential{cert: proxies.Sign(t, pkix.Name{CommonName: "back"}, nil), header: claim}, authenticationv1.UserInfo{}},
		{"client", credential{cert: client, header: claim}, authenticationv1.UserInfo{
			Username: "ann", Groups: []string{"system:authenticated"}, Extra: extra{"authentication.kubernetes.io/credential-id": {credentialID(client)}},
		}},
		{"client of the name", credential{cert: clients.Sign(t, pkix.Name{CommonName: "front"}, nil), header: claim, token: "joes-t0ken"}, authenticationv1.UserInfo{
			Username: "front", Groups: []string{"system:authenticated"},
		}},
		{"token alone", credential{header: claim, token: "joes-t0ken"}, joe},
	} {
		got, a := w.as(test.credential).whoami()
		if test.name == "client of the name" {
			got.Extra = nil
		}
		if !reflect.DeepEqual(got, test.want) || test.want.Username == "" && a.code != http.StatusUnauthorized {
			t.Errorf("%s: %d %+v, want %+v", test.name, a.code, got, test.want)
		}
	}
	changeOfProxies(t, w, proxies, w.as(credential{cert: front, header: claim}))
}

// changeOfProxies replaces the CA of proxies: one of the old CA is no proxy any
// more, on a connection that is open, and extensions are told.
func changeOfProxies(t *testing.T, w *world, old *authority.Authority, front *caller) {
	if got, a := front.whoami(); got.Username != "jane" {
		t.Fatalf("the proxy is not believed: %d", a.code)
	}
	next := authority.New(t, "next")
	w.write("proxies.pem", next.PEM())
	env.Eventually(w.t, "the end of the old proxies", func() bool {
		_, a := front.whoami()
		return a.code == http.StatusUnauthorized
	})
	var trust corev1.ConfigMap
	env.Eventually(w.t, "the word to extensions", func() bool {
		w.admin.must("GET", inNamespace("kube-system", "configmaps/extension-apiserver-authentication"), nil, &trust)
		return trust.Data["requestheader-client-ca-file"] == next.PEM()
	})
	for key, want := range map[string]string{
		"requestheader-allowed-names": `["front"]`, "requestheader-username-headers": `["X-Remote-User"]`, "requestheader-uid-headers": `["X-Remote-Uid"]`,
		"requestheader-group-headers": `["X-Remote-Group","Groups"]`, "requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	} {
		if trust.Data[key] != want {
			t.Errorf("%s is %q, want %q", key, trust.Data[key], want)
		}
	}
	if strings.Contains(trust.Data["client-ca-file"], old.PEM()) || trust.Data["client-ca-file"] == "" {
		t.Error("the CA of clients is not what it should be")
	}
}

// A token among the subprotocols of a WebSocket is as good as any.
func TestWebSocketToken(t *testing.T) {
	w := start(t, map[string]string{"tokens.csv": "joes-t0ken,joe,uid-7\n"})
	protocol := func(token string) string {
		return "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))
	}
	for _, test := range []struct {
		name, protocols, upgrade string
		code                     int
	}{
		{"token", protocol("joes-t0ken") + ", v5.channel.k8s.io", "websocket", http.StatusCreated},
		{"bad token", protocol("no") + ", v5.channel.k8s.io", "websocket", http.StatusUnauthorized},
		{"nothing else", protocol("joes-t0ken"), "websocket", http.StatusUnauthorized},
		{"two", protocol("joes-t0ken") + "," + protocol("joes-t0ken") + ",v5", "websocket", http.StatusUnauthorized},
		{"no WebSocket", protocol("joes-t0ken") + ", v5.channel.k8s.io", "SPDY/3.1", http.StatusForbidden},
	} {
		header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {test.upgrade}, "Sec-Websocket-Protocol": {test.protocols}}
		if got, a := w.as(credential{header: header, http1: true}).whoami(); a.code != test.code || got.Username != "joe" && test.code == http.StatusCreated {
			t.Errorf("%s: %d %s, want %d", test.name, a.code, a.body, test.code)
		}
	}
}
