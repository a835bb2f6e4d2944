package signing_test

import (
	"crypto/x509/pkix"
	"errors"
	"net"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/signing"
)

// A chain of renewals ends when its total lifetime is over, however many there
// were.
func TestChainEnds(t *testing.T) {
	signer, _ := newSigner(t, client)
	signer.Lifetime, signer.Renewable = time.Hour, 3*time.Hour
	first := time.Now()
	var ended time.Time
	for now, generations := first, 0; ; generations++ {
		latest, err := signer.Latest(first, now)
		if err != nil {
			if _, ok := errors.AsType[*signing.Refusal](err); !ok || generations < 3 {
				t.Fatalf("after %d: %v", generations, err)
			}
			break
		}
		cert, _, err := signer.Sign(good(client).read(t, client), now, signing.Terms{Latest: latest})
		if err != nil {
			t.Fatal(err)
		}
		ended = cert.NotAfter
		now = now.Add(40 * time.Minute)
	}
	if total := ended.Sub(first); total > 3*time.Hour || total < 170*time.Minute {
		t.Errorf("the chain lived for %v", total)
	}
	signer.Renewable = 0
	if _, err := signer.Latest(first, first); err == nil {
		t.Error("a signer that renews nothing renews")
	}
}

// A renewal is for the same subject, names and usages; only the key may differ.
func TestHolder(t *testing.T) {
	base := func() ask {
		a := good(client)
		a.pkcs10.DNSNames, a.pkcs10.IPAddresses = []string{"a", "b"}, []net.IP{{10, 0, 0, 1}}
		return a
	}
	holder := func(change func(*ask)) string {
		t.Helper()
		a := base()
		change(&a)
		id, err := a.read(t, client).Holder()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	want := holder(func(*ask) {})
	for name, change := range map[string]func(*ask){
		"another key":                    func(*ask) {},
		"names in another order":         func(a *ask) { a.pkcs10.DNSNames = []string{"b", "a"} },
		"usages in another order":        func(a *ask) { a.usages = usages(asClient, digital) },
		"organizations in another order": func(a *ask) { a.pkcs10.Subject.Organization = []string{"ops", "dev"} },
		"another lifetime":               func(a *ask) { a.seconds = 3600 },
	} {
		if holder(change) != want {
			t.Errorf("%s: another holder", name)
		}
	}
	for name, change := range map[string]func(*ask){
		"another name":        func(a *ask) { a.pkcs10.Subject = pkix.Name{CommonName: "root", Organization: []string{"dev", "ops"}} },
		"another group":       func(a *ask) { a.pkcs10.Subject.Organization = []string{"dev"} },
		"another host":        func(a *ask) { a.pkcs10.DNSNames = []string{"a", "c"} },
		"a host for an email": func(a *ask) { a.pkcs10.DNSNames, a.pkcs10.EmailAddresses = []string{"a"}, []string{"b"} },
		"another address":     func(a *ask) { a.pkcs10.IPAddresses = []net.IP{{10, 0, 0, 2}} },
		"more usages":         func(a *ask) { a.usages = usages(digital, asClient, encipher) },
		"other usages":        func(a *ask) { a.usages = usages(digital, asServer) },
	} {
		if holder(change) == want {
			t.Errorf("%s: the same holder", name)
		}
	}
}
