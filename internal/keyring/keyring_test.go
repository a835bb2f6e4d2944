package keyring_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	oracle "github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/util/keyutil"

	"gatehouse.dev/gatehouse/internal/keyring"
)

// verify returns the payload of token and the kid of its header, after a
// library of others has verified it with public.
func verify(t *testing.T, token string, public crypto.PublicKey) (payload, kid string) {
	t.Helper()
	parsed, err := oracle.ParseSignedCompact(token, []oracle.SignatureAlgorithm{oracle.RS256, oracle.ES256, oracle.ES384, oracle.ES512})
	if err != nil {
		t.Fatal(err)
	}
	data, err := parsed.Verify(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), parsed.Signatures[0].Header.KeyID
}

func ids(keys []keyring.Key) (ids []string) {
	for _, key := range keys {
		ids = append(ids, key.ID)
	}
	return ids
}

func TestOpenCreatesOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := keyring.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, keyring.FileName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: mode %v, %v, want 0600", info.Mode(), err)
	}
	second, err := keyring.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(second.Keys()), ids(first.Keys()); len(want) != 1 || !slices.Equal(got, want) {
		t.Errorf("opened again: keys %v, want %v", got, want)
	}
	token, err := first.Sign(map[string]string{"sub": "s"})
	if err != nil {
		t.Fatal(err)
	}
	key := second.Keys()[0]
	if payload, kid := verify(t, token, key.Public); payload != `{"sub":"s"}` || kid != key.ID || key.Algorithm != "ES256" {
		t.Errorf("token has %s of key %s, want that of %s with ES256, not %s", payload, kid, key.ID, key.Algorithm)
	}
	// A kube-apiserver that takes over signs and verifies with the file.
	if _, err := keyutil.PrivateKeyFromFile(path); err != nil {
		t.Error(err)
	}
	if _, err := keyutil.PublicKeysFromFile(path); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"empty file", "", 0o600, "has no key"},
		{"open to all", privatePEM(t, ecKey(t)), 0o644, "chmod 600"},
		{"only public", publicPEM(t, ecKey(t).Public()), 0o600, "0 private keys"},
		{"cut short", privatePEM(t, ecKey(t))[:100], 0o600, "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, dir, keyring.FileName, tt.content)
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := keyring.Open(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, tt.want)
			}
			// What cannot be read must not be replaced: it may be the only
			// copy of a key that tokens still rest on.
			if now, err := os.ReadFile(path); err != nil || string(now) != tt.content {
				t.Errorf("the file changed (%v)", err)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	rsa1, rsa2, ec1, ec2 := rsaKey(t, 2048), rsaKey(t, 2048), ecKey(t), ecKey(t)
	signing := write(t, dir, "signing", privatePEM(t, rsa1))
	many := write(t, dir, "many", publicPEM(t, ec1.Public())+"words between\n"+publicPEM(t, rsa2.Public())+publicPEM(t, rsa1.Public()))
	ring, err := keyring.Load(signing, many, write(t, dir, "private", privatePEM(t, ec2)))
	if err != nil {
		t.Fatal(err)
	}
	keys := ring.Keys()
	want := []crypto.PublicKey{rsa1.Public(), ec1.Public(), rsa2.Public(), ec2.Public()}
	if len(keys) != len(want) {
		t.Fatalf("%d keys, want %d: each once", len(keys), len(want))
	}
	for i, key := range keys {
		if !key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(want[i]) {
			t.Errorf("key %d is not the one of the file", i)
		}
		if found := ring.Find(key.ID); len(found) != 1 || found[0].ID != key.ID {
			t.Errorf("Find(%q) = %v", key.ID, ids(found))
		}
	}
	if all := ring.Find(""); len(all) != 4 {
		t.Errorf("Find of no ID has %d keys, want all", len(all))
	}
	if none := ring.Find("other"); len(none) != 0 {
		t.Errorf("Find of an unknown ID has %d keys, want none", len(none))
	}
	if got := ring.Algorithms(); !slices.Equal(got, []string{"ES256", "RS256"}) {
		t.Errorf("Algorithms = %v", got)
	}
	token, err := ring.Sign(map[string]int{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, kid := verify(t, token, rsa1.Public()); kid != keys[0].ID {
		t.Errorf("token names key %s, want %s", kid, keys[0].ID)
	}
	set, err := ring.Set()
	if err != nil {
		t.Fatal(err)
	}
	var parsed oracle.JSONWebKeySet
	if err := json.Unmarshal(set, &parsed); err != nil || len(parsed.Keys) != 4 {
		t.Fatalf("set = %s, %v", set, err)
	}
	if found := parsed.Key(keys[3].ID); len(found) != 1 || !ec2.PublicKey.Equal(found[0].Key) {
		t.Error("the set does not have the last key under its ID")
	}
}

func TestRingThatOnlyVerifies(t *testing.T) {
	ring, err := keyring.Load("", write(t, t.TempDir(), "pub", publicPEM(t, ecKey(t).Public())))
	if err != nil {
		t.Fatal(err)
	}
	if ring.Signs() {
		t.Error("a ring without a private key says that it signs")
	}
	if token, err := ring.Sign(map[string]int{}); err == nil {
		t.Errorf("it signed %q", token)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	public := write(t, dir, "public", publicPEM(t, ecKey(t).Public()))
	two := write(t, dir, "two", privatePEM(t, ecKey(t))+privatePEM(t, ecKey(t)))
	for _, tt := range []struct {
		name, signing string
		verification  []string
		want          string
	}{
		{"nothing", "", nil, "no file"},
		{"signing file missing", filepath.Join(dir, "none"), nil, "none: no such file"},
		{"verification file missing", "", []string{filepath.Join(dir, "none")}, "none: no such file"},
		{"signing with a public key", public, nil, "0 private keys"},
		{"signing with two keys", two, nil, "2 private keys"},
		{"second verification file bad", two[:0], []string{public, write(t, dir, "bad", "x")}, "bad has no key"},
	} {
		if _, err := keyring.Load(tt.signing, tt.verification...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// The ID was computed with OpenSSL:
//
//	openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | basenc --base64url
func TestKeyID(t *testing.T) {
	keys, err := keyring.Parse("f", []byte(`-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5j8wpmb98iLnGsq+ftAyY35378xo
sWZ5KM8W36PZLCvW/ONPTz2R8dBPoxHtuW1SaPcyBBNWgxMexgVmq4AGAQ==
-----END PUBLIC KEY-----
`))
	if want := "TLZ5W5Hp4VY62R4N9dTLyDlwT2_feT6lpslMKmqolbE"; err != nil || len(keys) != 1 || keys[0].ID != want {
		t.Errorf("keys = %v, %v, want the ID %s", ids(keys), err, want)
	}
}

// Nothing of the content of a file gets into an error.
func TestErrorsTellNoSecret(t *testing.T) {
	content := []byte(privatePEM(t, ecKey(t)))
	lines := bytes.Split(content, []byte("\n"))
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 1
		_, err := keyring.Parse("f", damaged)
		if err == nil {
			continue
		}
		for _, line := range lines[1:3] {
			der, _ := base64.StdEncoding.DecodeString(string(line))
			if strings.Contains(err.Error(), string(line[:16])) || strings.Contains(err.Error(), string(der[:8])) {
				t.Fatalf("error has a piece of the key: %v", err)
			}
		}
	}
}
