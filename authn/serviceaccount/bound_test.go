package serviceaccount_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/identity"
)

func TestBoundClaims(t *testing.T) {
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	pod := object{"pod": object{"name": "p", "uid": "pod-uid"}}
	tests := []struct {
		name    string
		payload object
		err     string
	}{
		{"good", claims(), ""},
		{"other issuer of ours", claims(object{"iss": "https://old.example"}), ""},
		{"foreign issuer", claims(object{"iss": "https://evil.example"}), "pass"},
		{"issuer in capitals", claims(object{"iss": "https://CLUSTER.example"}), "pass"},
		{"issuer with a slash", claims(object{"iss": issuer + "/"}), "pass"},
		{"no issuer", claims(object{"iss": nil}), "pass"},
		{"issuer is a list", claims(object{"iss": []string{issuer}}), "pass"},
		// As seen on a running cluster.
		{"no exp", claims(object{"exp": nil}), ""},
		{"no aud", claims(object{"aud": nil}), ""},
		{"empty aud", claims(object{"aud": []string{}}), ""},
		{"sub of somebody else", claims(object{"sub": "system:serviceaccount:kube-system:root"}), ""},
		{"no jti", claims(object{"jti": nil}), ""},
		{"aud is a string", claims(object{"aud": "api"}), ""},
		{"other aud", claims(object{"aud": []string{"vault"}}), `token audiences ["vault"] is invalid for the target audiences ["api"]`},
		{"prefix of aud", claims(object{"aud": "ap"}), "is invalid for"},
		{"aud of an empty string", claims(object{"aud": []string{""}}), "is invalid for"},
		{"aud is a number", claims(object{"aud": 1}), `claim "aud"`},
		{"aud is nested", claims(object{"aud": []any{[]string{"api"}}}), `claim "aud"`},
		{"expired within leeway", claims(object{"exp": in(-58 * time.Second)}), ""},
		{"expired", claims(object{"exp": in(-62 * time.Second)}), "service account token has expired"},
		{"exp 0", claims(object{"exp": 0}), "service account token has expired"},
		{"exp is negative", claims(object{"exp": -1}), `claim "exp"`},
		{"exp is huge", claims(object{"exp": 1e308}), `claim "exp"`},
		{"exp is a string", claims(object{"exp": "9999999999"}), `claim "exp"`},
		{"exp after 2^31 and 2^32", claims(object{"exp": int64(1) << 33}), ""},
		{"exp is a fraction", claims(object{"exp": float64(in(time.Hour)) + 0.5}), ""},
		{"nbf within leeway", claims(object{"nbf": in(58 * time.Second)}), ""},
		{"nbf", claims(object{"nbf": in(62 * time.Second)}), "service account token is not valid yet"},
		{"iat within leeway", claims(object{"iat": in(58 * time.Second)}), ""},
		{"iat", claims(object{"iat": in(62 * time.Second)}), "service account token is issued in the future"},
		{"no private claims", claims(object{"kubernetes.io": nil}), "do not name a service account"},
		{"namespace with a slash", claims(object{"kubernetes.io": object{"namespace": "ns/x", "serviceaccount": object{"name": "app"}}}), "do not name"},
		{"private claims are a list", claims(object{"kubernetes.io": []int{1}}), `claim "kubernetes.io"`},
		{"other account", claims(binding(object{"serviceaccount": object{"name": "x", "uid": "sa-uid"}})), `serviceaccounts "x" not found`},
		{"other UID", claims(binding(object{"serviceaccount": object{"name": "app", "uid": "x"}})), "service account UID (sa-uid) does not match claim (x)"},
		{"pod", claims(binding(pod)), ""},
		{"no such pod", claims(binding(object{"pod": object{"name": "x", "uid": "pod-uid"}})), "service account token has been invalidated"},
		{"pod of the same name", claims(binding(object{"pod": object{"name": "p", "uid": "x"}})), "pod UID (pod-uid) does not match service account pod ref claim (x)"},
		{"secret", claims(binding(object{"secret": object{"name": "s", "uid": "secret-uid"}})), ""},
		{"secret of the same name", claims(binding(object{"secret": object{"name": "s", "uid": "x"}})), "secret UID (secret-uid) does not match service account secret ref claim (x)"},
		{"node", claims(binding(object{"node": object{"name": "n", "uid": "node-uid"}})), ""},
		{"node of the same name", claims(binding(object{"node": object{"name": "n", "uid": "x"}})), "node UID (node-uid) does not match service account node ref claim (x)"},
		{"no such node", claims(binding(object{"node": object{"name": "x", "uid": "node-uid"}})), "has been invalidated"},
		{"no such node of a pod", claims(binding(object{"pod": pod["pod"], "node": object{"name": "x", "uid": "y"}})), ""},
		{"pod is null", claims(binding(object{"pod": nil})), `claim "pod"`},
		{"binding not understood", claims(binding(object{"validatingwebhookconfiguration": object{"name": "x"}})), "not supported"},
	}
	f := newFixture(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := f.VerifyToken(t.Context(), f.sign(t, tt.payload), nil)
			check(t, err, tt.err)
			checkWhy(t, err)
			if err == nil && (res.Identity.Name != "system:serviceaccount:ns:app" || !reflect.DeepEqual(res.Audiences, []string{"api"})) {
				t.Errorf("%+v for %q", res.Identity, res.Audiences)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	f := newFixture(t)
	payload := claims(binding(object{"pod": object{"name": "p", "uid": "pod-uid"}, "node": object{"name": "n", "uid": "node-uid"}}))
	token := f.sign(t, payload)
	res, err := f.VerifyToken(t.Context(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	exp := time.Unix(payload["exp"].(int64), 0)
	want := &identity.Identity{
		Name:   "system:serviceaccount:ns:app",
		UID:    "sa-uid",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"},
		Extra: map[string][]string{
			identity.PodNameKey: {"p"}, identity.PodUIDKey: {"pod-uid"},
			identity.NodeNameKey: {"n"}, identity.NodeUIDKey: {"node-uid"},
			identity.CredentialIDKey: {"JTI=id-1"},
		},
		Credential: identity.Credential{Method: identity.ServiceAccount, Issuer: issuer, ID: "JTI=id-1",
			Digest: digest(token), KeyID: kidOf(t, f.key.Public()), IssuedAt: exp.Add(-time.Hour), ExpiresAt: exp},
	}
	if !reflect.DeepEqual(res.Identity, want) {
		t.Errorf("identity %+v, want %+v", res.Identity, want)
	}
}

// digest is the SHA-256 of what the signature of a token covers.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
	return hex.EncodeToString(sum[:])
}

func TestAudiences(t *testing.T) {
	f := newFixture(t)
	token := f.sign(t, claims(object{"aud": []string{"api", "vault"}}))
	for _, tt := range []struct{ asked, want []string }{
		{nil, []string{"api"}},
		{[]string{"vault"}, []string{"vault"}},
		{[]string{"x", "vault", "api"}, []string{"vault", "api"}},
		{[]string{"x"}, nil},
		{[]string{""}, nil},
	} {
		res, err := f.VerifyToken(t.Context(), token, tt.asked)
		if tt.want == nil {
			check(t, err, "is invalid for the target audiences")
		} else if err != nil || !reflect.DeepEqual(res.Audiences, tt.want) {
			t.Errorf("asked %q: %v, %v, want %q", tt.asked, res, err, tt.want)
		}
	}
	// A token without an audience is for the server alone.
	_, err := f.VerifyToken(t.Context(), f.sign(t, claims(object{"aud": nil})), []string{"vault"})
	check(t, err, "is invalid for")
}

func TestKeysAndHeaders(t *testing.T) {
	f := newFixture(t)
	stranger := newKey(t)
	tests := []struct{ name, token, err string }{
		{"no kid", signWith(t, f.key, object{"alg": "ES256"}, claims()), ""},
		{"unknown kid", signWith(t, f.key, object{"alg": "ES256", "kid": "x"}, claims()), "invalid signature, no keys found"},
		{"empty kid", signWith(t, f.key, object{"alg": "ES256", "kid": ""}, claims()), ""},
		{"stranger", signWith(t, stranger, object{"alg": "ES256"}, claims()), "invalid signature"},
		{"stranger with our kid", signWith(t, stranger, object{"alg": "ES256", "kid": f.kid}, claims()), "invalid signature"},
		{"no key of that algorithm", signWith(t, f.key, object{"alg": "RS256"}, claims()), "no keys found"},
		{"key of another algorithm", signWith(t, f.key, object{"alg": "RS256", "kid": f.kid}, claims()), "invalid signature"},
		{"alg none", signWith(t, f.key, object{"alg": "none"}, claims()), "pass"},
		{"key in the header", signWith(t, stranger, object{"alg": "ES256", "jwk": object{}}, claims()), "pass"},
		{"not a token", "hello", "pass"},
		{"empty", "", "pass"},
		{"JSON", `{"payload":"x"}`, "pass"},
		{"too long", strings.Repeat("x", 17<<10), "pass"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := f.VerifyToken(t.Context(), tt.token, nil)
			check(t, err, tt.err)
			checkWhy(t, err)
			if err != nil && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[len(tt.token)-20:]) {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
}

// While a result is fresh nothing is read; then only the objects are, and the
// signature is not looked at again.
func TestLooksAgainAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		token := f.sign(t, claims())
		first, err := f.VerifyToken(t.Context(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Now().Add(10 * time.Second); !first.Until.Equal(want) {
			t.Errorf("Until = %v, want %v", first.Until, want)
		}
		time.Sleep(10 * time.Second)
		if first.Fresh(time.Now()) {
			t.Error("a result is fresh after ten seconds without a word from the watch")
		}
		again, err := f.VerifyToken(t.Context(), token, nil)
		if err != nil || again.Identity != first.Identity {
			t.Errorf("the signature was verified twice: %v", err)
		}
		delete(f.world.objects, "serviceaccounts/ns/app")
		_, err = f.VerifyToken(t.Context(), token, nil)
		check(t, err, `serviceaccounts "app" not found`)
		// The remembered signature does not outlive the token either.
		f.world.objects["serviceaccounts/ns/app"] = &serviceaccount.Object{UID: "sa-uid"}
		time.Sleep(time.Hour + time.Minute)
		_, err = f.VerifyToken(t.Context(), token, nil)
		check(t, err, "has expired")
	})
}

func TestResultEnds(t *testing.T) {
	payload := claims(binding(object{"pod": object{"name": "p", "uid": "pod-uid"}}))
	tests := []struct {
		name  string
		bump  func(f *fixture)
		fresh bool
	}{
		{"nothing", func(*fixture) {}, true},
		{"account", func(f *fixture) { f.stripes.Of("serviceaccounts", "ns", "app").Bump() }, false},
		{"pod", func(f *fixture) { f.stripes.Of("pods", "ns", "p").Bump() }, false},
		{"all", func(f *fixture) { f.stripes.BumpAll() }, false},
		{"keys", func(f *fixture) { f.keys.Replace(f.key.Public()) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			res, err := f.VerifyToken(t.Context(), f.sign(t, payload), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.bump(f); res.Fresh(time.Now()) != tt.fresh {
				t.Errorf("Fresh = %v, want %v", !tt.fresh, tt.fresh)
			}
		})
	}
}

func TestResultEndsWithTheToken(t *testing.T) {
	f := newFixture(t)
	exp := time.Now().Add(-55 * time.Second).Unix() // within the leeway
	res, err := f.VerifyToken(t.Context(), f.sign(t, claims(object{"exp": exp})), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Unix(exp+60, 0); !res.Until.Equal(want) {
		t.Errorf("Until = %v, want %v", res.Until, want)
	}
}

// A deletion between the read of an object and the end of the verification must
// not be lost.
func TestStampIsTakenBeforeTheRead(t *testing.T) {
	f := newFixture(t)
	f.world.onRead = func() { f.stripes.Of("serviceaccounts", "ns", "app").Bump() }
	res, err := f.VerifyToken(t.Context(), f.sign(t, claims()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Fresh(time.Now()) {
		t.Error("a result is fresh although its account was deleted while it was read")
	}
}

func TestKeyTakenBack(t *testing.T) {
	f := newFixture(t)
	token := f.sign(t, claims())
	_, err := f.VerifyToken(t.Context(), token, nil)
	check(t, err, "")
	if err := f.keys.Replace(newKey(t).Public()); err != nil {
		t.Fatal(err)
	}
	_, err = f.VerifyToken(t.Context(), token, nil)
	check(t, err, "no keys found")
}

func TestDeletionHasALeeway(t *testing.T) {
	for _, resource := range []string{"serviceaccounts/ns/app", "pods/ns/p"} {
		for _, tt := range []struct {
			ago time.Duration
			err string
		}{
			{-time.Hour, ""}, // a deletion with a long grace period
			{58 * time.Second, ""},
			{62 * time.Second, "has been"},
		} {
			f := newFixture(t)
			token := f.sign(t, claims(binding(object{"pod": object{"name": "p", "uid": "pod-uid"}})))
			deleted := time.Now().Add(-tt.ago)
			f.world.objects[resource].Deleted = deleted
			res, err := f.VerifyToken(t.Context(), token, nil)
			check(t, err, tt.err)
			if err == nil && res.Until.After(deleted.Add(time.Minute)) {
				t.Errorf("%s: Until is %v after the deletion", resource, res.Until.Sub(deleted))
			}
		}
	}
}

// A store that does not answer refuses; it never makes an anonymous caller.
func TestStoreDown(t *testing.T) {
	f := newFixture(t)
	f.world.down = errors.New("store is away")
	_, err := f.VerifyToken(t.Context(), f.sign(t, claims()), nil)
	check(t, err, "store is away")
	checkWhy(t, err)
	f.world.down = context.Canceled
	_, err = f.VerifyToken(t.Context(), f.sign(t, claims()), nil)
	check(t, err, "canceled")
}

func TestAnnotations(t *testing.T) {
	f := newFixture(t)
	past, future := time.Now().Add(-100*time.Second).Unix(), time.Now().Add(time.Hour).Unix()
	tests := []struct {
		name    string
		payload object
		want    string
	}{
		{"none", claims(), ""},
		{"warnafter to come", claims(binding(object{"warnafter": future})), ""},
		{"warnafter 0", claims(binding(object{"warnafter": 0})), ""},
		{"warnafter past", claims(binding(object{"warnafter": past})),
			"authentication.k8s.io/stale-token=subject: system:serviceaccount:ns:app, seconds after warning threshold: 10"},
		{"no audience", claims(object{"aud": nil}), "authentication.k8s.io/legacy-token=system:serviceaccount:ns:app"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := f.VerifyToken(t.Context(), f.sign(t, tt.payload), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := annotations(res); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("annotations %q, want %q", got, tt.want)
			}
		})
	}
}

func annotations(r *authn.Result) string {
	var all []string
	for _, a := range r.Annotations {
		all = append(all, a.Key+"="+a.Value)
	}
	return strings.Join(all, " ")
}
