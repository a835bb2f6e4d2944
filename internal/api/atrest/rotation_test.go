package atrest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gatehouse.dev/gatehouse/internal/api/atrest"
)

func created(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := atrest.Create(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSeal(t *testing.T) {
	path := created(t)
	before, err := atrest.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	id, code := before.Seal([]byte("digest"))
	if id != before.IDs[0] || len(code) != 32 {
		t.Fatalf("Seal = %s and %d bytes", id, len(code))
	}
	if _, err := atrest.Rotate(path); err != nil {
		t.Fatal(err)
	}
	after, err := atrest.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := atrest.Read(created(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		keys   atrest.Keys
		digest string
		code   []byte
		forged bool
		ok     bool
	}{
		{"as it was made", before, "digest", code, false, true},
		{"with a rotated key", after, "digest", code, false, true},
		{"of something else", before, "digesu", code, true, false},
		{"cut short", before, "digest", code[:31], true, false},
		{"empty", before, "digest", nil, true, false},
		{"without its key", other, "digest", code, false, false},
		{"without any key", atrest.Keys{}, "digest", code, false, false},
	} {
		err := tt.keys.CheckSeal(id, []byte(tt.digest), tt.code)
		if (err == nil) != tt.ok || errors.Is(err, atrest.ErrSeal) != tt.forged {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if id, code := (atrest.Keys{}).Seal([]byte("digest")); id != "" || code != nil {
		t.Errorf("without keys Seal = %s, %x", id, code)
	}
	if _, again := after.Seal([]byte("digest")); bytes.Equal(again, code) {
		t.Error("two keys make the same seal")
	}
}

func TestPruneKeepsTheKeyThatWrites(t *testing.T) {
	path := created(t)
	old, err := atrest.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := atrest.Prune(path); err != nil || gone != nil {
		t.Fatalf("pruning the only key = %v, %v", gone, err)
	}
	// Twice within a second: the names have to differ all the same.
	for range 2 {
		if _, err := atrest.Rotate(path); err != nil {
			t.Fatal(err)
		}
	}
	all, err := atrest.Describe(path)
	if err != nil || len(all) != 3 {
		t.Fatalf("Describe = %v, %v", all, err)
	}
	names := map[string]bool{}
	for i, k := range all {
		names[k.Name] = true
		if k.Writes != (i == 0) {
			t.Errorf("key %d of %v should write: %v", i, all, i == 0)
		}
	}
	if len(names) != 3 {
		t.Errorf("names repeat: %v", all)
	}
	gone, err := atrest.Prune(path)
	if err != nil || len(gone) != 2 || gone[1] != old.IDs[0] {
		t.Fatalf("Prune = %v, %v", gone, err)
	}
	left, err := atrest.Describe(path)
	if err != nil || len(left) != 1 || left[0].ID != all[0].ID {
		t.Errorf("left = %v, %v; want %v", left, err, all[0])
	}
}

func TestWrote(t *testing.T) {
	key := atrest.Description{Name: "key-1", Provider: "secretbox"}
	for value, want := range map[string]bool{
		"k8s:enc:secretbox:v1:key-1:x": true,
		"k8s:enc:secretbox:v1:key-12:": false,
		"k8s:enc:aescbc:v1:key-1:x":    false,
		"k8s:enc:kms:v2:key-1:x":       false,
		"k8s\x00plain":                 false,
		"":                             false,
	} {
		if got := key.Wrote([]byte(value)); got != want {
			t.Errorf("Wrote(%q) = %v", value, got)
		}
	}
}

func TestRotationIsRefusedForAFileOfTheOperator(t *testing.T) {
	const text = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {keys: [{name: a, secret: c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=}]}
  - secretbox: {keys: [{name: b, secret: c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=}]}
`
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := atrest.Rotate(path); err == nil {
		t.Error("rotated: the new key would not be the one that writes")
	}
	if _, err := atrest.Prune(path); err == nil {
		t.Error("pruned")
	}
	if got, _ := os.ReadFile(path); string(got) != text {
		t.Error("the file was changed")
	}
	if all, err := atrest.Describe(path); err != nil || len(all) != 2 || all[0].Provider != "aesgcm" || all[1].Writes {
		t.Errorf("Describe = %v, %v", all, err)
	}
}
