package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/revocation"
)

type spec = v1alpha1.RevocationSpec

func revoke(name string, s spec) *v1alpha1.Revocation {
	if s.Reason == "" {
		s.Reason = v1alpha1.ReasonKeyCompromise
	}
	return &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}, Spec: s}
}

func index(t testing.TB, specs ...spec) *revocation.Index {
	t.Helper()
	x := revocation.New()
	for i, s := range specs {
		if err := x.Put(revoke(fmt.Sprint("r", i), s)); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func at(hour int) time.Time { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC) }

func before(hour int) *metav1.Time { return &metav1.Time{Time: at(hour)} }

const sum = "0000000000000000000000000000000000000000000000000000000000000001"

// renewedFrom is the serial number of a certificate from which another one was
// renewed.
const renewedFrom = "7b00000000000000000001"

// callers are one of each method, all issued at noon.
func callers() map[string]*identity.Identity {
	ca := &identity.Credential{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=root", ID: "X509SHA256=root", IssuerName: "CN=root", Serial: "1",
		Digest: "root-tbs", KeyID: "root-key", IssuedAt: at(0),
	}
	middle := &identity.Credential{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=root", ID: "X509SHA256=middle", IssuerName: "CN=root", Serial: "2",
		Digest: "middle-tbs", KeyID: "root-key", IssuedAt: at(0), Above: ca,
	}
	cert := identity.Credential{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=root", ID: "X509SHA256=leaf", IssuerName: "CN=middle", Serial: "2a",
		Digest: "leaf-tbs", KeyID: "middle-key", IssuedAt: at(12), Above: middle,
	}
	proxy := cert
	proxy.Method = identity.FrontProxy
	token := func(m identity.Method, issuer, id string) identity.Credential {
		return identity.Credential{Method: m, Issuer: issuer, ID: id, Digest: "token-" + string(m), KeyID: "kid-" + string(m), IssuedAt: at(12)}
	}
	renewed := identity.Credential{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=ours", ID: "X509SHA256=renewed", IssuerName: "CN=ours", Serial: "7b00000000000000000002",
		Digest: "renewed-tbs", KeyID: "our-key", IssuedAt: at(12),
	}
	all := map[string]*identity.Identity{
		"renewed":     {Name: "walter", Credential: renewed},
		"certificate": {Name: "jane", Groups: []string{"devs", "system:authenticated"}, Credential: cert},
		"proxied": {Name: "jane", Groups: []string{"devs", "system:authenticated"}, Credential: proxy,
			Extra: map[string][]string{identity.CredentialIDKey: {"JTI=passed on"}}},
		"sa":        {Name: "system:serviceaccount:ns:app", Groups: []string{"system:serviceaccounts"}, Credential: token(identity.ServiceAccount, "https://sa", "JTI=1")},
		"legacy":    {Name: "system:serviceaccount:ns:app", Credential: token(identity.LegacyServiceAccount, "kubernetes/serviceaccount", "SECRET=ns/s")},
		"oidc":      {Name: "jane", Groups: []string{"devs"}, Credential: token(identity.JWT, "https://idp", "JTI=1")},
		"no jti":    {Name: "jane", Credential: token(identity.JWT, "https://idp", "")},
		"static":    {Name: "ci", Groups: []string{"bots"}, Credential: identity.Credential{Method: identity.StaticToken, ID: "NAME=ci"}},
		"password":  {Name: "jane", Credential: identity.Credential{Method: identity.Password, ID: "USER=jane"}},
		"bootstrap": {Name: "system:bootstrap:abcdef", Credential: identity.Credential{Method: identity.BootstrapToken, ID: "TOKENID=abcdef"}},
		"webhook": {Name: "walt", Credential: identity.Credential{Method: identity.Webhook, ID: "JTI=w"},
			Extra: map[string][]string{identity.CredentialIDKey: {"JTI=w"}}},
		"anonymous": {Name: identity.Anonymous, Groups: []string{identity.GroupUnauthenticated}, Credential: identity.Credential{Method: identity.Unauthenticated}},
	}
	// Its groups were kept elsewhere, in a token of the morning.
	graph := token(identity.JWT, "https://graph", "JTI=g")
	graph.Digest, graph.KeyID, graph.IssuedAt = "token-graph", "kid-graph", at(8)
	gathered := token(identity.JWT, "https://gathers", "JTI=2")
	gathered.Digest, gathered.KeyID, gathered.Beside = "token-gathered", "kid-gathered", &graph
	all["gathered"] = &identity.Identity{Name: "gina", Groups: []string{"devs"}, Credential: gathered}
	root := all["certificate"]
	all["impersonated"] = &identity.Identity{Name: "joe", Groups: []string{"ops"}, Credential: root.Credential, Impersonator: root}
	return all
}

func TestJudge(t *testing.T) {
	certificates := "certificate impersonated proxied"
	for _, tt := range []struct {
		name string
		spec spec
		hits string // sorted
	}{
		{"user", spec{User: "jane"}, certificates + " no jti oidc password"},
		{"impersonated user", spec{User: "joe"}, "impersonated"},
		{"another user", spec{User: "Jane"}, ""},
		{"a prefix of a user", spec{User: "jan"}, ""},
		{"group", spec{Group: "devs"}, certificates + " gathered oidc"},
		{"group of whom somebody acts as", spec{Group: "ops"}, "impersonated"},
		{"a user is no group", spec{Group: "jane"}, ""},
		{"service account", spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "ns", Name: "app"}}, "legacy sa"},
		{"service account of another namespace", spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "n", Name: "app"}}, ""},
		{"all service accounts", spec{Group: "system:serviceaccounts"}, "sa"},
		{"strangers", spec{User: identity.Anonymous}, "anonymous"},
		{"serial number", spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=middle", SerialNumber: "2a"}}, certificates},
		{"serial number of another issuer", spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=root", SerialNumber: "2a"}}, ""},
		{"digest of a certificate", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "leaf-tbs"}}, certificates},
		{"what was renewed from it", spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=ours", SerialNumber: renewedFrom, Chain: "7b"}}, "renewed"},
		{"what was renewed from it, by the digest", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "first-tbs", Chain: "7b"}}, "renewed"},
		{"one of which the renewals are kept", spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=ours", SerialNumber: renewedFrom, Renewals: v1alpha1.RenewalsKept}}, ""},
		{"another chain", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "first-tbs", Chain: "7"}}, ""},
		{"a chain that numbers begin with", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "first-tbs", Chain: "2"}}, ""},
		{"serial number of the CA in between", spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=root", SerialNumber: "2"}}, certificates},
		{"digest of the CA in between", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "middle-tbs"}}, certificates},
		{"digest of the root", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "root-tbs"}}, certificates},
		{"key of the CA", spec{Key: &v1alpha1.RevokedKey{ID: "middle-key"}}, certificates},
		{"key of the root", spec{Key: &v1alpha1.RevokedKey{ID: "root-key"}}, certificates},
		{"key of the root, as its own", spec{Key: &v1alpha1.RevokedKey{ID: "root-key", Issuer: "X509SHA256=root"}}, certificates},
		{"key of another issuer", spec{Key: &v1alpha1.RevokedKey{ID: "kid-JWT", Issuer: "https://sa"}}, ""},
		{"key of an issuer", spec{Key: &v1alpha1.RevokedKey{ID: "kid-JWT", Issuer: "https://idp"}}, "no jti oidc"},
		{"key of anybody", spec{Key: &v1alpha1.RevokedKey{ID: "kid-ServiceAccount"}}, "sa"},
		{"root", spec{Issuer: "X509SHA256=root"}, certificates},
		{"CA in between", spec{Issuer: "X509SHA256=middle"}, certificates},
		{"the certificate is no issuer of itself, but it is what is meant", spec{Issuer: "X509SHA256=leaf"}, certificates},
		{"issuer of tokens", spec{Issuer: "https://idp"}, "no jti oidc"},
		{"token", spec{Token: &v1alpha1.RevokedToken{Issuer: "https://idp", JTI: "1"}}, "oidc"},
		{"same jti of another issuer", spec{Token: &v1alpha1.RevokedToken{Issuer: "https://sa", JTI: "1"}}, "sa"},
		{"digest of a token", spec{Token: &v1alpha1.RevokedToken{SigningInputSHA256: "token-JWT"}}, "no jti oidc"},
		{"jti that somebody else vouches for", spec{Token: &v1alpha1.RevokedToken{Issuer: "any", JTI: "w"}}, "webhook"},
		{"jti that a proxy passes on", spec{Token: &v1alpha1.RevokedToken{Issuer: "any", JTI: "passed on"}}, "proxied"},
		{"static token", spec{CredentialID: "NAME=ci"}, "static"},
		{"password", spec{CredentialID: "USER=jane"}, "password"},
		{"bootstrap token", spec{CredentialID: "TOKENID=abcdef"}, "bootstrap"},
		{"legacy token", spec{CredentialID: "SECRET=ns/s"}, "legacy"},
		{"issued before", spec{User: "jane", IssuedBefore: before(13)}, certificates + " no jti oidc password"},
		// A password says nothing of its time, nor does the word of a proxy.
		{"issued at that time", spec{User: "jane", IssuedBefore: before(12)}, "password proxied"},
		{"issued after", spec{User: "jane", IssuedBefore: before(11)}, "password proxied"},
		{"key, before", spec{Key: &v1alpha1.RevokedKey{ID: "kid-JWT"}, IssuedBefore: before(13)}, "no jti oidc"},
		{"key, after", spec{Key: &v1alpha1.RevokedKey{ID: "kid-JWT"}, IssuedBefore: before(12)}, ""},
		{"issuer of groups that were kept elsewhere", spec{Issuer: "https://graph"}, "gathered"},
		{"issuer whose groups are kept elsewhere", spec{Issuer: "https://gathers"}, "gathered"},
		{"key that vouches for groups", spec{Key: &v1alpha1.RevokedKey{ID: "kid-graph"}}, "gathered"},
		{"key that vouches for groups, as its issuer's", spec{Key: &v1alpha1.RevokedKey{ID: "kid-graph", Issuer: "https://graph"}}, "gathered"},
		{"key that vouches for groups, as another issuer's", spec{Key: &v1alpha1.RevokedKey{ID: "kid-graph", Issuer: "https://gathers"}}, ""},
		{"token with groups", spec{Token: &v1alpha1.RevokedToken{Issuer: "https://graph", JTI: "g"}}, "gathered"},
		{"token with groups, of another issuer", spec{Token: &v1alpha1.RevokedToken{Issuer: "https://gathers", JTI: "g"}}, ""},
		{"digest of a token with groups", spec{Token: &v1alpha1.RevokedToken{SigningInputSHA256: "token-graph"}}, "gathered"},
		{"issuer of groups, before", spec{Issuer: "https://graph", IssuedBefore: before(9)}, "gathered"},
		{"issuer of groups, after", spec{Issuer: "https://graph", IssuedBefore: before(8)}, ""},
		// When the proxy's own certificate was issued is known.
		{"CA, after", spec{Issuer: "X509SHA256=root", IssuedBefore: before(12)}, ""},
		{"CA, before", spec{Issuer: "X509SHA256=root", IssuedBefore: before(13)}, certificates},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Beside others, of which none is about anybody here.
			x := index(t, tt.spec, spec{User: "x"}, spec{Group: "x"}, spec{Issuer: "x"}, spec{CredentialID: "NAME=x"},
				spec{Key: &v1alpha1.RevokedKey{ID: "x"}}, spec{Token: &v1alpha1.RevokedToken{Issuer: "x", JTI: "x", SigningInputSHA256: "x"}},
				spec{Certificate: &v1alpha1.RevokedCertificate{Issuer: "x", SerialNumber: "0", TBSSHA256: "x", SHA256: "x"}})
			want := map[string]bool{}
			for name := range callers() {
				want[name] = contains(tt.hits, name)
			}
			for name, who := range callers() {
				err := x.Judge(who)
				if (err != nil) != want[name] {
					t.Errorf("%s: %v", name, err)
				}
				if method, kind := authn.Blame(err); err != nil && (kind != authn.Revoked || method != who.Credential.Method || !strings.Contains(err.Error(), "revocation r0: ") || errors.Is(err, authn.ErrNoCredential)) {
					t.Errorf("%s: %v is of %s %s", name, err, method, kind)
				}
				if f := authn.FactsOf(err); err != nil && (f.Mend == "" || len(f.Checks) == 0 || f.Checks[len(f.Checks)-1].OK || !strings.Contains(f.Mend, " r0")) {
					t.Errorf("%s: %v is explained by %+v", name, err, f)
				}
				if hits := revocation.Hits(revoke("a", tt.spec), who); hits != want[name] {
					t.Errorf("%s: by itself: %t", name, hits)
				}
			}
		})
	}
}

// contains reports whether a list of names, some of two words, has one.
func contains(list, name string) bool {
	rest := " " + list + " "
	if name != "no jti" {
		rest = strings.ReplaceAll(rest, " no jti ", " ")
	}
	return strings.Contains(rest, " "+name+" ")
}

// Of whom an API server asks about, it says little: what it says counts.
func TestJudgeSubject(t *testing.T) {
	subject := func(ids ...string) *identity.Identity {
		return &identity.Identity{Name: "jane", Groups: []string{"devs"}, Extra: map[string][]string{identity.CredentialIDKey: ids}}
	}
	for _, tt := range []struct {
		name string
		spec spec
		who  *identity.Identity
		hits bool
	}{
		{"user", spec{User: "jane"}, subject(), true},
		{"group", spec{Group: "devs"}, subject(), true},
		{"another", spec{User: "joe"}, subject("JTI=1"), false},
		{"token of any issuer", spec{Token: &v1alpha1.RevokedToken{Issuer: "i", JTI: "1"}}, subject("JTI=1"), true},
		{"the second", spec{Token: &v1alpha1.RevokedToken{Issuer: "i", JTI: "1"}}, subject("JTI=0", "JTI=1"), true},
		{"token", spec{Token: &v1alpha1.RevokedToken{Issuer: "i", JTI: "1"}}, subject("JTI=2", "1", "NAME=1"), false},
		{"certificate", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: "t", SHA256: sum}}, subject("X509SHA256=" + sum), true},
		{"what is signed is another digest", spec{Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: sum}}, subject("X509SHA256=" + sum), false},
		{"static", spec{CredentialID: "NAME=ci"}, subject("NAME=ci"), true},
		{"time of issue", spec{User: "jane", IssuedBefore: before(1)}, subject(), false},
		{"nothing", spec{User: "x"}, &identity.Identity{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := index(t, tt.spec)
			if err := x.JudgeSubject(tt.who); (err != nil) != tt.hits {
				t.Errorf("judged %v", err)
			}
			answer, err := x.Access(authz.AlwaysAllow()).Authorize(t.Context(), &authz.Attributes{User: tt.who})
			if want := map[bool]authz.Verdict{true: authz.Deny, false: authz.Allow}[tt.hits]; err != nil || answer.Verdict != want {
				t.Errorf("answered %v %q, %v", answer.Verdict, answer.Reason(), err)
			}
		})
	}
}

func TestPutRefuses(t *testing.T) {
	for name, s := range map[string]spec{
		"nothing":                {},
		"two things":             {User: "a", Group: "b"},
		"certificate by nothing": {Certificate: &v1alpha1.RevokedCertificate{}},
		"by its own digest":      {Certificate: &v1alpha1.RevokedCertificate{SHA256: sum}},
		"issuer alone":           {Certificate: &v1alpha1.RevokedCertificate{Issuer: "CN=a"}},
		"jti alone":              {Token: &v1alpha1.RevokedToken{JTI: "1"}},
	} {
		x := revocation.New()
		if err := x.Put(revoke("a", s)); err == nil || x.Len() != 0 {
			t.Errorf("%s: %v, %d in force", name, err, x.Len())
		}
	}
}

// Good results are judged once, and again only when more is revoked.
func TestJudgeResult(t *testing.T) {
	x := index(t, spec{User: "joe"})
	told := 0
	x.Notify(func() { told++ })
	res := &authn.Result{Identity: callers()["oidc"]}
	bad := &authn.Result{Identity: &identity.Identity{Name: "joe"}}
	stamp := x.Stamp()
	for range 2 {
		if x.JudgeResult(res) != nil || x.JudgeResult(bad) == nil {
			t.Fatal("judged wrongly")
		}
	}
	r := revoke("later", spec{User: "jane"})
	if x.Put(r) != nil || x.JudgeResult(res) == nil || stamp.Current() || told != 1 {
		t.Errorf("a Revocation is not in force when it is put; told %d times", told)
	}
	stamp = x.Stamp()
	if x.Put(r) != nil || !stamp.Current() || x.Len() != 2 {
		t.Error("the same Revocation counts twice")
	}
	x.Remove(r)
	if err := x.JudgeResult(res); err != nil || x.Len() != 1 || !stamp.Current() {
		t.Errorf("lifted: %v", err)
	}
	// The watch is late: it brings what was deleted already.
	if x.Put(r) != nil || x.JudgeResult(res) != nil || x.Len() != 1 {
		t.Error("a Revocation is back that was lifted")
	}
	// One that was made anew is another one.
	again := revoke("later", spec{User: "jane"})
	again.UID = "another"
	if x.Put(again) != nil || x.JudgeResult(res) == nil {
		t.Error("a Revocation of the same name is not in force")
	}
	friend := &identity.Identity{Name: "friend", Groups: []string{"a", "b", "c"}, Credential: identity.Credential{
		Method: identity.JWT, Issuer: "i", ID: "JTI=1", Digest: "d", KeyID: "k", IssuedAt: at(1),
	}}
	if n := testing.AllocsPerRun(100, func() { _ = x.Judge(friend) }); n != 0 {
		t.Errorf("judging allocates %v times", n)
	}
}

// Two Revocations of one thing are both lifted before it is.
func TestTwice(t *testing.T) {
	x := revocation.New()
	who := callers()["sa"]
	a := revoke("a", spec{User: who.Name})
	b := revoke("b", spec{ServiceAccount: &v1alpha1.RevokedServiceAccount{Namespace: "ns", Name: "app"}})
	for _, r := range []*v1alpha1.Revocation{a, b} {
		if err := x.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	x.Remove(a)
	if x.Judge(who) == nil {
		t.Error("one is lifted, and with it the other")
	}
	x.Remove(b)
	if err := x.Judge(who); err != nil {
		t.Error(err)
	}
}

// Readers see every Revocation that was put before they began, while others are
// put and removed.
func TestConcurrently(t *testing.T) {
	x := revocation.New()
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := range 2000 {
				name := fmt.Sprintf("u%d-%d", w, i)
				r := revoke(name, spec{User: name})
				who := &identity.Identity{Name: name}
				res := &authn.Result{Identity: who}
				if err := x.JudgeResult(res); err != nil {
					t.Error(err)
				}
				if err := x.Put(r); err != nil || x.JudgeResult(res) == nil {
					t.Errorf("%s is put, and not in force: %v", name, err)
				}
				if i%2 == 0 {
					if x.Remove(r); x.JudgeResult(res) != nil {
						t.Errorf("%s is lifted, and in force", name)
					}
				}
			}
		})
	}
	work.Wait()
	if x.Len() != 4000 {
		t.Errorf("%d in force", x.Len())
	}
}

type verifier struct {
	res *authn.Result
	err error
}

func (v verifier) VerifyToken(context.Context, string, []string) (*authn.Result, error) {
	return v.res, v.err
}

func TestTokens(t *testing.T) {
	x := index(t, spec{User: "joe"})
	for name, tt := range map[string]struct {
		verifier
		kind authn.Kind
	}{
		"good":    {verifier{res: &authn.Result{Identity: &identity.Identity{Name: "jane"}}}, ""},
		"revoked": {verifier{res: &authn.Result{Identity: &identity.Identity{Name: "joe"}}}, authn.Revoked},
		"refused": {verifier{err: authn.Refuse(identity.JWT, authn.Expired, "old")}, authn.Expired},
		"nobodys": {verifier{err: authn.ErrNoCredential}, ""},
	} {
		res, err := x.Tokens(tt.verifier).VerifyToken(t.Context(), "t", nil)
		var kind authn.Kind
		if err != nil {
			_, kind = authn.Blame(err)
		}
		if kind != tt.kind || (res == nil) == (err == nil) {
			t.Errorf("%s: refused %v", name, err)
		}
	}
}

// BenchmarkJudge is what a request costs that is judged in full, and that is
// judged by what is remembered of it.
func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{0, 1_000_000} {
		x := revocation.New()
		for i := range n {
			r := revoke(fmt.Sprint(i), spec{Token: &v1alpha1.RevokedToken{Issuer: "https://idp", JTI: fmt.Sprint("other-", i)}})
			if err := x.Put(r); err != nil {
				b.Fatal(err)
			}
		}
		res := &authn.Result{Identity: callers()["oidc"]}
		b.Run(fmt.Sprint("remembered/", n), func(b *testing.B) {
			for b.Loop() {
				if x.JudgeResult(res) != nil {
					b.Fatal("revoked")
				}
			}
		})
		b.Run(fmt.Sprint("anew/", n), func(b *testing.B) {
			for b.Loop() {
				if x.Judge(res.Identity) != nil {
					b.Fatal("revoked")
				}
			}
		})
	}
}
