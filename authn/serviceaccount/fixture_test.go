package serviceaccount_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/test/ladder"
)

const issuer = "https://cluster.example"

// A world is the store, in memory, by resource/namespace/name.
type world struct {
	objects map[string]*serviceaccount.Object
	reads   int
	down    error
	onRead  func()
}

func (w *world) Object(_ context.Context, resource, namespace, name string) (*serviceaccount.Object, error) {
	w.reads++
	if w.down != nil {
		return nil, w.down
	}
	o := w.objects[resource+"/"+namespace+"/"+name]
	if w.onRead != nil {
		w.onRead()
	}
	if o == nil {
		return nil, serviceaccount.ErrNotFound
	}
	return o, nil
}

// A fixture is a verifier and all it rests on.
type fixture struct {
	*serviceaccount.Verifier
	world   *world
	stripes *authn.Stripes
	keys    *serviceaccount.Keys
	key     *ecdsa.PrivateKey
	kid     string
	used    []string
	counted []serviceaccount.Use
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func kidOf(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	kid, err := serviceaccount.KeyID(public)
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{key: newKey(t), stripes: authn.NewStripes(), world: &world{objects: map[string]*serviceaccount.Object{
		"serviceaccounts/ns/app": {UID: "sa-uid", Secrets: []string{"auto"}},
		"secrets/ns/s":           {UID: "secret-uid"},
		"pods/ns/p":              {UID: "pod-uid"},
		"nodes//n":               {UID: "node-uid"},
	}}}
	f.kid = kidOf(t, f.key.Public())
	keys, err := serviceaccount.NewKeys(newKey(t).Public(), f.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	f.keys = keys
	f.Verifier, err = serviceaccount.New(serviceaccount.Config{
		Issuers:   []string{issuer, "https://old.example"},
		Audiences: []string{"api"},
		Keys:      keys,
		Objects:   f.world,
		Stripes:   f.stripes,
		LegacyUsed: func(_ context.Context, ns, secret, day string) {
			f.used = append(f.used, ns+"/"+secret+" "+day)
		},
		Count: func(u serviceaccount.Use) { f.counted = append(f.counted, u) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type object = map[string]any

// claims are those of a good bound token, with changes; nil removes one.
func claims(changes ...object) object {
	now := time.Now().Unix()
	c := object{
		"iss": issuer, "sub": "system:serviceaccount:ns:app", "aud": []string{"api"}, "jti": "id-1",
		"iat": now, "nbf": now, "exp": now + 3600,
		"kubernetes.io": object{"namespace": "ns", "serviceaccount": object{"name": "app", "uid": "sa-uid"}},
	}
	for _, change := range changes {
		maps.Copy(c, change)
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// binding is the claim kubernetes.io with more members.
func binding(more object) object {
	k := object{"namespace": "ns", "serviceaccount": object{"name": "app", "uid": "sa-uid"}}
	maps.Copy(k, more)
	return object{"kubernetes.io": k}
}

func legacy(changes ...object) object {
	c := object{
		"iss": serviceaccount.LegacyIssuer, "sub": "system:serviceaccount:ns:app",
		"kubernetes.io/serviceaccount/namespace":            "ns",
		"kubernetes.io/serviceaccount/secret.name":          "manual",
		"kubernetes.io/serviceaccount/service-account.name": "app",
		"kubernetes.io/serviceaccount/service-account.uid":  "sa-uid",
	}
	for _, change := range changes {
		maps.Copy(c, change)
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (f *fixture) sign(t testing.TB, payload object) string {
	return signWith(t, f.key, object{"alg": "ES256", "kid": f.kid}, payload)
}

func signWith(t testing.TB, key *ecdsa.PrivateKey, header, payload object) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	p, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, key, h, p)
}

func signBytes(t testing.TB, key *ecdsa.PrivateKey, h, p []byte) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(h) + "." + b64.EncodeToString(p)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + b64.EncodeToString(sig)
}

// store puts a legacy token into the Secret it names.
func (f *fixture) store(t testing.TB, payload object, labels map[string]string) string {
	token := f.sign(t, payload)
	name, _ := payload["kubernetes.io/serviceaccount/secret.name"].(string)
	f.world.objects["secrets/ns/"+name] = &serviceaccount.Object{UID: "u", Token: []byte(token), Labels: labels}
	return token
}

// check wants an error that is a refusal and has the text, or none.
func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %q, want none", err)
	case want == "pass":
		if !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("error %v, want ErrNoCredential", err)
		}
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	case errors.Is(err, authn.ErrNoCredential):
		t.Errorf("error %q is no refusal", err)
	}
}

// whys are what texts of refusals stand for; the first that fits counts.
var whys = []struct{ text, why string }{
	{"is invalid for the target", "audience: audience (aud)"},
	{"has expired", "expired: expiry (exp)"},
	{"is not valid yet", "not-yet-valid: not before (nbf)"},
	{"issued in the future", "not-yet-valid: issued at (iat)"},
	{"no keys found", "unknown: key (kid)"},
	{"invalid signature", "bad-proof: signature"},
	{`secrets "`, "revoked: secrets ns/"},
	{`pods "`, "revoked: pods ns/"},
	{`nodes "`, "revoked: nodes "},
	{`serviceaccounts "`, "revoked: serviceaccounts ns/"},
	{"account UID", "revoked: serviceaccounts ns/app"},
	{"Account UID", "revoked: serviceaccounts ns/app"},
	{"account ns/app has been deleted", "revoked: serviceaccounts ns/app"},
	{"Account ns/app has been deleted", "revoked: serviceaccounts ns/app"},
	{"pod UID", "revoked: pods ns/p"},
	{"secret UID", "revoked: secrets ns/s"},
	{"node UID", "revoked: nodes n"},
	{"Token has been invalidated", "revoked: secrets ns/"},
	{"server's copy", "revoked: token"},
	{"marked invalid", "revoked: label kubernetes.io/legacy-token-invalid-since"},
	{"looking up", "unavailable: "},
	{"claim", "malformed: claims"}, // of a type that it should not be, or missing
}

// checkWhy wants err to explain itself, and to name the true cause.
func checkWhy(t *testing.T, err error) {
	t.Helper()
	got := ladder.Why(t, err)
	if err == nil || errors.Is(err, authn.ErrNoCredential) {
		return
	}
	i := slices.IndexFunc(whys, func(w struct{ text, why string }) bool { return strings.Contains(err.Error(), w.text) })
	if i < 0 || !strings.HasPrefix(got, whys[i].why) {
		t.Errorf("%v is explained by %q", err, got)
	}
}
