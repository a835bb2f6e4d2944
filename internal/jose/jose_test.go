package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	oracle "github.com/go-jose/go-jose/v4"

	"gatehouse.dev/gatehouse/internal/jose"
)

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSign(t *testing.T) {
	tests := []struct {
		key    crypto.Signer
		alg    string
		header string
	}{
		{rsaKey(t), "RS256", `{"alg":"RS256","kid":"k1"}`},
		{ecKey(t, elliptic.P256()), "ES256", `{"alg":"ES256","kid":"k1"}`},
		{ecKey(t, elliptic.P384()), "ES384", `{"alg":"ES384","kid":"k1"}`},
		{ecKey(t, elliptic.P521()), "ES512", `{"alg":"ES512","kid":"k1"}`},
	}
	for _, tt := range tests {
		t.Run(tt.alg, func(t *testing.T) {
			signer, err := jose.NewSigner(tt.key, "k1")
			if err != nil {
				t.Fatal(err)
			}
			token, err := signer.Sign(map[string]any{"sub": "s", "aud": []string{"a&b"}})
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			header, err := base64.RawURLEncoding.DecodeString(parts[0])
			if err != nil || string(header) != tt.header {
				t.Errorf("header = %s, %v, want %s", header, err, tt.header)
			}
			parsed, err := oracle.ParseSignedCompact(token, []oracle.SignatureAlgorithm{oracle.SignatureAlgorithm(tt.alg)})
			if err != nil {
				t.Fatal(err)
			}
			payload, err := parsed.Verify(tt.key.Public())
			if want := `{"aud":["a\u0026b"],"sub":"s"}`; err != nil || string(payload) != want {
				t.Errorf("payload = %s, %v, want %s", payload, err, want)
			}
			if _, err := parsed.Verify(ecKey(t, elliptic.P256()).Public()); err == nil {
				t.Error("another key verifies the token")
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := ecKey(t, elliptic.P256())
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		id   string
		want string
	}{
		{"Ed25519", ed, "k", "must be RSA or ECDSA"},
		{"P-224", ecKey(t, elliptic.P224()), "k", "P-256, P-384 or P-521"},
		{"no ID", p256, "", "must have an ID"},
	} {
		if _, err := jose.NewSigner(tt.key, tt.id); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewSigner of %s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	signer, err := jose.NewSigner(p256, "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, claims := range []any{nil, "text", []string{"list"}, 1, func() {}, map[string]any{"f": func() {}}} {
		if token, err := signer.Sign(claims); err == nil {
			t.Errorf("Sign(%T) = %s, want an error", claims, token)
		}
	}
}

func TestMarshalSet(t *testing.T) {
	rsaKey, ecKey := rsaKey(t), ecKey(t, elliptic.P384())
	set, err := jose.MarshalSet([]jose.Key{{"r", rsaKey.Public()}, {"e", ecKey.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	var raw struct{ Keys []map[string]string }
	if err := json.Unmarshal(set, &raw); err != nil || len(raw.Keys) != 2 {
		t.Fatalf("set = %s, %v, want two keys", set, err)
	}
	for i, want := range []map[string]string{
		{"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "e": "AQAB"},
		{"kty": "EC", "kid": "e", "alg": "ES384", "use": "sig", "crv": "P-384"},
	} {
		for name, value := range want {
			if raw.Keys[i][name] != value {
				t.Errorf("key %d has %s = %q, want %q", i, name, raw.Keys[i][name], value)
			}
		}
		if _, private := raw.Keys[i]["d"]; private {
			t.Errorf("key %d is private", i)
		}
	}
	var parsed oracle.JSONWebKeySet
	if err := json.Unmarshal(set, &parsed); err != nil {
		t.Fatal(err)
	}
	if !rsaKey.PublicKey.Equal(parsed.Keys[0].Key) || !ecKey.PublicKey.Equal(parsed.Keys[1].Key) {
		t.Error("the keys changed on the way")
	}
	if empty, err := jose.MarshalSet(nil); err != nil || string(empty) != `{"keys":[]}` {
		t.Errorf("MarshalSet(nil) = %s, %v", empty, err)
	}
}

func TestMarshalSetRefusesSecrets(t *testing.T) {
	for _, key := range []any{rsaKey(t), ecKey(t, elliptic.P256()), []byte("symmetric"), nil} {
		if set, err := jose.MarshalSet([]jose.Key{{"k", key}}); err == nil {
			t.Errorf("MarshalSet of a %T gave %d bytes, want an error", key, len(set))
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for name, key := range map[string]crypto.Signer{"RS256": rsaKey(b), "ES256": ecKey(b, elliptic.P256())} {
		b.Run(name, func(b *testing.B) {
			signer, err := jose.NewSigner(key, "k")
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := signer.Sign(map[string]string{"sub": "s"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
