package signing_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/signing"
)

const ownName = "example.com/workload"

// The rules of a signer of one's own, for requesters who are more or less
// cunning.
func TestOwn(t *testing.T) {
	jane := signing.Requester{Username: "jane", UID: "u-1", Groups: []string{"dev", "system:masters"}}
	account := signing.Requester{Username: "system:serviceaccount:shop:web", Groups: []string{"system:serviceaccounts"}}
	rules := signing.Own{
		CommonNames: []string{"${username}", "robot-${username}"}, Organizations: []string{"${group}", "staff"},
		DNSNames:       []string{"${username}.hosts.example.com", "${serviceaccount.name}.${serviceaccount.namespace}.svc"},
		EmailAddresses: []string{"${username}@example.com"},
		URIs:           []string{"spiffe://example.com/ns/${serviceaccount.namespace}/sa/${serviceaccount.name}", "spiffe://example.com/user/${username}"},
		IPAddresses:    []string{"10.1.0.0/16", "192.0.2.7"},
		Usages:         usages(digital, asClient, asServer), Keys: []string{signing.ECDSA, signing.RSA}, MinRSA: 3072,
	}
	subject := func(cn string, orgs ...string) func(*ask) {
		return func(a *ask) { a.pkcs10.Subject = pkix.Name{CommonName: cn, Organization: orgs} }
	}
	uri := func(text string) func(*ask) {
		return func(a *ask) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			a.pkcs10.URIs = []*url.URL{u}
		}
	}
	dns := func(names ...string) func(*ask) { return func(a *ask) { a.pkcs10.DNSNames = names } }
	ip := func(text string) func(*ask) {
		return func(a *ask) { a.pkcs10.IPAddresses = []net.IP{net.ParseIP(text)} }
	}
	named := func(name string) signing.Requester { return signing.Requester{Username: name} }
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		who    signing.Requester
		change []func(*ask)
		want   string
	}{
		{"himself", jane, []func(*ask){subject("jane")}, ""},
		{"himself in a group", jane, []func(*ask){subject("jane", "dev", "staff")}, ""},
		{"his robot", jane, []func(*ask){subject("robot-jane")}, ""},
		{"his host", jane, []func(*ask){subject("jane"), dns("jane.hosts.example.com", "JANE.hosts.example.com")}, ""},
		{"his email address", jane, []func(*ask){subject("jane"), func(a *ask) { a.pkcs10.EmailAddresses = []string{"jane@example.com"} }}, ""},
		{"an address of the range", jane, []func(*ask){subject("jane"), ip("10.1.255.1")}, ""},
		{"the one address", jane, []func(*ask){subject("jane"), ip("192.0.2.7")}, ""},
		{"his URI", jane, []func(*ask){subject("jane"), uri("spiffe://example.com/user/jane")}, ""},
		{"a service account", account, []func(*ask){subject(account.Username), uri("spiffe://example.com/ns/shop/sa/web"), dns("web.shop.svc")}, ""},
		{"P-384", jane, []func(*ask){subject("jane"), func(a *ask) { a.key = p384 }}, ""},
		{"somebody else", jane, []func(*ask){subject("root")}, `the common name "root" is not one that the signer signs for this requester`},
		{"nobody", jane, []func(*ask){subject("")}, "the subject has no common name"},
		{"a group that he is not in", jane, []func(*ask){subject("jane", "ops")}, `the organization "ops" is not one that the signer signs for this requester`},
		{"masters, though he is one", jane, []func(*ask){subject("jane", "system:masters")}, `the organization "system:masters" is not one`},
		{"his robot, with a name that would be another", named("jane.x:y"), []func(*ask){subject("robot-jane.x:y")}, `the common name "robot-jane.x:y" is not one`},
		{"more of the subject", jane, []func(*ask){func(a *ask) { a.pkcs10.Subject.Locality = []string{"here"} }}, "and not the attribute 2.5.4.7"},
		{"another host", jane, []func(*ask){subject("jane"), dns("root.hosts.example.com")}, `the DNS name "root.hosts.example.com" is not one`},
		{"one good host and another", jane, []func(*ask){subject("jane"), dns("jane.hosts.example.com", "x")}, `the DNS name "x" is not one`},
		{"a wildcard", jane, []func(*ask){subject("jane"), dns("*.hosts.example.com")}, `the DNS name "*.hosts.example.com" is not one`},
		{"a name that is several labels", named("evil.com"), []func(*ask){subject("evil.com"), dns("evil.com.hosts.example.com")}, "is not one"},
		{"a name that is a path", named("../sa/root"), []func(*ask){subject("../sa/root"), uri("spiffe://example.com/user/../sa/root")}, "is not one"},
		{"a name that is escaped", named("a%2fb"), []func(*ask){subject("a%2fb"), uri("spiffe://example.com/user/a%2fb")}, "is not one"},
		{"a name of dots", named(".."), []func(*ask){subject(".."), uri("spiffe://example.com/user/..")}, "is not one"},
		{"a name with an at", named("a@b"), []func(*ask){subject("a@b"), func(a *ask) { a.pkcs10.EmailAddresses = []string{"a@b@example.com"} }}, "is not one"},
		{"a user who is called as a service account", named("system:serviceaccount:shop:web"), []func(*ask){subject("system:serviceaccount:shop:web"), uri("spiffe://example.com/ns/shop/sa/web")}, "is not one"},
		{"a URI of another account", account, []func(*ask){subject(account.Username), uri("spiffe://example.com/ns/shop/sa/root")}, "is not one"},
		{"an address outside", jane, []func(*ask){subject("jane"), ip("10.2.0.1")}, "the IP address 10.2.0.1 is not in a range of the signer's"},
		{"another usage", jane, []func(*ask){subject("jane"), func(a *ask) { a.usages = usages(asClient, encipher) }}, `the usage "key encipherment" is not one of the signer's`},
		{"a small key", jane, []func(*ask){subject("jane"), func(a *ask) { a.key = small }}, "the RSA key has 2048 bits: the signer wants 3072"},
		{"another kind of key", jane, []func(*ask){subject("jane"), func(a *ask) { a.key = ed }}, "the signer wants a key of ECDSA or RSA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signer, _ := newSigner(t, client)
			signer.Name = ownName
			var mistakes []*signing.Mistake
			if signer.Rules, mistakes = rules.Compile(); len(mistakes) > 0 {
				t.Fatal(mistakes)
			}
			a := good(client)
			for _, change := range tt.change {
				change(&a)
			}
			request := a.read(t, ownName)
			request.Requester = tt.who
			_, _, err := signer.Sign(request, time.Now(), signing.Terms{})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// An empty list allows nothing.
func TestOwnEmpty(t *testing.T) {
	rules, mistakes := signing.Own{CommonNames: []string{"*"}, Usages: usages(asClient)}.Compile()
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	for name, change := range map[string]func(*ask){
		"organization": func(a *ask) { a.pkcs10.Subject.Organization = []string{"a"} },
		"DNS":          func(a *ask) { a.pkcs10.DNSNames = []string{"a"} },
		"email":        func(a *ask) { a.pkcs10.EmailAddresses = []string{"a@b"} },
		"IP":           func(a *ask) { a.pkcs10.IPAddresses = []net.IP{{1, 2, 3, 4}} },
		"URI":          func(a *ask) { a.pkcs10.URIs = []*url.URL{{Scheme: "a", Host: "b"}} },
		"reserved":     func(a *ask) { a.pkcs10.Subject.CommonName = "system:node:n1" },
	} {
		a := ask{usages: usages(asClient)}
		a.pkcs10.Subject.CommonName = "anybody"
		if err := rules.Check(a.read(t, ownName)); err != nil {
			t.Fatal(err)
		}
		change(&a)
		if err := rules.Check(a.read(t, ownName)); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}

func TestOwnMistakes(t *testing.T) {
	_, mistakes := signing.Own{
		CommonNames: []string{"", "${who}", "a${username", "a*b"}, Organizations: []string{"system:masters", "team-${group}"},
		DNSNames: []string{"*"}, IPAddresses: []string{"10.0.0.0/33", "host"}, URIs: []string{"${group}x"},
		Usages: []certificatesv1.KeyUsage{"flying", "cert sign"}, Keys: []string{"DSA"}, MinRSA: 1024,
	}.Compile()
	want := []string{
		`commonNames: "": is empty`, `commonNames: "${who}": knows no ${who}: the places are username, uid, group,`,
		`commonNames: "a${username": has ${ without }`, `commonNames: "a*b": has a * in it`,
		`organizations: "team-${group}": has ${group} in it`, `dnsNames: "*": stands for every name`, `uris: "${group}x": has ${group} in it`,
		`ipAddresses: "10.0.0.0/33": is neither`, `ipAddresses: "host": is neither`, `organizations: "system:masters": nothing could take back`,
		`usages: "flying": unrecognized usage values`, `usages: "cert sign": the usages`, `keys: "DSA": is none of`, `minRSABits: "1024": is not from 2048`,
	}
	if len(mistakes) != len(want) {
		t.Errorf("%d mistakes, want %d: %v", len(mistakes), len(want), mistakes)
	}
	for i, m := range mistakes {
		if i < len(want) && !strings.HasPrefix(m.Error(), want[i]) {
			t.Errorf("mistake %v, want %s", m, want[i])
		}
	}
	if _, mistakes := (signing.Own{}).Compile(); len(mistakes) != 2 {
		t.Errorf("of nothing: %v", mistakes)
	}
}
