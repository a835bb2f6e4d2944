package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/revocation"
	"gatehouse.dev/gatehouse/test/authority"
)

const allRevocations = "/apis/gatehouse.dev/v1alpha1/revocations"

// A leaver is somebody by one method, and what his credential can be named by.
type leaver struct {
	method string
	*caller
	user, group string
	// own names his credential, key the key that signed it, and issuer who
	// vouches for him. Those that there are not are nil.
	own, key, issuer *v1alpha1.RevocationSpec
	// timed says that the credential tells when it was issued.
	timed bool
}

// leavers are somebody of each method, all of other names.
func leavers(t *testing.T) (*world, []leaver) {
	type spec = v1alpha1.RevocationSpec
	clients, proxies, idp := authority.New(t, "clients"), authority.New(t, "proxies"), newProvider(t)
	const token = "hash3d-token-of-128-random-bits"
	w := start(t, map[string]string{
		"ca.pem": clients.PEM(), "proxies.pem": proxies.PEM(), "tokens.csv": "t0ken,joe,1,joes\n", "hashed": hashedLine(token, "cis"),
		"users.htpasswd": "ann:" + horse + "\n", "groups": "anns: ann\n", "authentication.yaml": idp.configuration("idp:"),
	}, append(slices.Clone(proxied), "--hashed-token-file=DIR/hashed", "--htpasswd-file=DIR/users.htpasswd", "--htpasswd-groups-file=DIR/groups",
		"--authentication-config=DIR/authentication.yaml", "--enable-bootstrap-token-auth")...)
	w.namespace("x")
	w.account("x", "sa")
	w.account("x", "old")
	ofToken := func(token string) *spec {
		named, err := revocation.OfToken(token)
		if err != nil {
			t.Fatal(err)
		}
		return &named
	}
	key := func(token string) *spec {
		return &spec{Key: &v1alpha1.RevokedKey{ID: header(t, token)["kid"].(string)}}
	}
	issuer := func(token string) *spec { return &spec{Issuer: claims(t, token)["iss"].(string)} }
	jane := clients.Sign(t, pkix.Name{CommonName: "jane", Organization: []string{"janes"}}, nil)
	front := proxies.Sign(t, pkix.Name{CommonName: "front"}, nil)
	ofAuthority := func(a *authority.Authority) (key, issuer *spec) {
		k, err := revocation.OfItsKey(a.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		i := revocation.OfAuthority(a.Certificate)
		return &k, &i
	}
	ofCertificate := func(c *tls.Certificate) *spec {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		named := revocation.OfCertificate(leaf)
		return &named
	}
	clientKey, clientCA := ofAuthority(clients)
	proxyKey, proxyCA := ofAuthority(proxies)
	bound, legacy, foreign, boot := w.token("x", "sa", "", ""), w.legacyToken("x", "legacy", "old"), idp.token("kim"), w.bootstrapToken("abcdef", "0123456789abcdef")
	return w, []leaver{
		{"X509", w.as(credential{cert: jane}), "jane", "janes", ofCertificate(jane), clientKey, clientCA, true},
		{"FrontProxy", w.as(credential{cert: front, header: http.Header{"X-Remote-User": {"jill"}, "X-Remote-Group": {"jills"}}}), "jill", "jills", ofCertificate(front), proxyKey, proxyCA, false},
		{"static token", w.as(credential{token: token}), "ci", "cis", &spec{CredentialID: "NAME=ci"}, nil, nil, false},
		{"token of the file", w.as(credential{token: "t0ken"}), "joe", "joes", nil, nil, nil, false},
		{"password", w.as(withPassword("ann", "correct horse")), "ann", "anns", &spec{CredentialID: "USER=ann"}, nil, nil, false},
		{"account", w.as(credential{token: bound}), "system:serviceaccount:x:sa", "system:serviceaccounts:x", ofToken(bound), key(bound), issuer(bound), true},
		{"legacy token", w.as(credential{token: legacy}), "system:serviceaccount:x:old", "system:serviceaccounts:x", ofToken(legacy), key(legacy), issuer(legacy), false},
		{"issuer", w.as(credential{token: foreign}), "idp:kim", "", ofToken(foreign), key(foreign), issuer(foreign), true},
		{"bootstrap token", w.as(credential{token: boot}), "system:bootstrap:abcdef", "system:bootstrappers", &spec{CredentialID: "TOKENID=abcdef"}, nil, nil, false},
	}
}

// whileRevoked does something while a Revocation is in force, if there is one to
// make, and holds that its end is the end of it.
func (w *world) whileRevoked(who *leaver, spec *v1alpha1.RevocationSpec, do func()) {
	w.t.Helper()
	if spec == nil {
		return
	}
	s := *spec
	s.Force = true
	var made v1alpha1.Revocation
	w.admin.must("POST", allRevocations, &v1alpha1.Revocation{
		TypeMeta:   metav1.TypeMeta{APIVersion: "gatehouse.dev/v1alpha1", Kind: "Revocation"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "leaver-"}, Spec: s,
	}, &made)
	do()
	w.admin.must("DELETE", allRevocations+"/"+made.Name, nil, nil)
	if got, a := who.whoami(); a.code != http.StatusCreated || got.Username != who.user {
		w.t.Errorf("%s: lifted, and answered %d as %q", who.method, a.code, got.Username)
	}
}

// Whatever ends of a person, by whatever method he comes: he is not let in, and
// everybody else is.
func TestPeopleWhoLeave(t *testing.T) {
	w, people := leavers(t)
	type spec = v1alpha1.RevocationSpec
	// A long time ago, and in the next century: before and after all there is.
	past, future := metav1.Unix(1000000000, 0), metav1.Unix(4000000000, 0)
	for i := range people {
		who := &people[i]
		if got, a := who.whoami(); a.code != http.StatusCreated || got.Username != who.user || who.group != "" && !slices.Contains(got.Groups, who.group) {
			t.Fatalf("%s: answered %d as %q of %q", who.method, a.code, got.Username, got.Groups)
		}
		stays := &people[(i+1)%len(people)]
		var group *spec
		if who.group != "" {
			group = &spec{Group: who.group}
		}
		for _, state := range []struct {
			name string
			spec *spec
			in   bool // he is still let in
			also bool // so may be others, who share it
		}{
			{"user", &spec{User: who.user}, false, false},
			{"group", group, false, true},
			{"credential", who.own, false, false},
			{"key", who.key, false, true},
			{"issuer", who.issuer, false, true},
			{"somebody else", &spec{User: "nobody-here"}, true, false},
			{"all of the user issued so far", &spec{User: who.user, IssuedBefore: &future}, false, false},
			{"all of the user issued long ago", &spec{User: who.user, IssuedBefore: &past}, who.timed, false},
		} {
			t.Run(who.method+"/"+strings.ReplaceAll(state.name, " ", "_"), func(t *testing.T) {
				w.whileRevoked(who, state.spec, func() {
					_, a := who.whoami()
					if state.in && a.code != http.StatusCreated {
						t.Errorf("answered %d", a.code)
					}
					if !state.in {
						expect401(t, a)
					}
					if _, a := stays.whoami(); !state.also && a.code != http.StatusCreated {
						t.Errorf("%s is answered %d", stays.method, a.code)
					}
				})
			})
		}
		t.Run(who.method+"/acted_as", func(t *testing.T) {
			w.whileRevoked(who, &spec{User: who.user}, func() {
				acting := &caller{t: t, url: w.admin.url, client: w.admin.client, header: http.Header{"Impersonate-User": {who.user}}}
				_, a := acting.whoami()
				expect401(t, a)
			})
		})
	}
	var text struct{ Items []json.RawMessage }
	if w.admin.must("GET", allRevocations, nil, &text); len(text.Items) != 0 {
		t.Error(fmt.Sprint(len(text.Items), " Revocations are left"))
	}
}
