package atrest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/value"

	"gatehouse.dev/gatehouse/internal/api/atrest"
)

var where = value.DefaultContext("registry/secrets/a/b")

func load(t *testing.T, path string) (atrest.Keys, value.Transformer) {
	t.Helper()
	keys, err := atrest.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return keys, keys.Transformers[schema.GroupResource{Resource: "secrets"}]
}

func TestRotatedKeyWritesAndOldOneReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := atrest.Create(path); err != nil {
		t.Fatal(err)
	}
	before, old := load(t, path)
	sealed, err := old.TransformToStorage(context.Background(), []byte("hunter2"), where)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "hunter2") {
		t.Fatal("stored in plain")
	}

	id, err := atrest.Rotate(path)
	if err != nil {
		t.Fatal(err)
	}
	after, next := load(t, path)
	if len(after.IDs) != 2 || after.IDs[0] != id || after.IDs[1] != before.IDs[0] {
		t.Errorf("IDs = %v after %v, want %s in front", after.IDs, before.IDs, id)
	}
	plain, stale, err := next.TransformFromStorage(context.Background(), sealed, where)
	if err != nil || string(plain) != "hunter2" || !stale {
		t.Errorf("reading what the old key wrote = %q, stale %v, %v", plain, stale, err)
	}
}

func TestCreateKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := atrest.Create(path); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := atrest.Create(path); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(path); string(first) != string(second) {
		t.Error("a second Create made another key")
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode().Perm())
	}
}

func TestRefusals(t *testing.T) {
	const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
	for name, text := range map[string]string{
		"no yaml":       "secret: [" + secret,
		"unknown field": "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nkeys: " + secret + "\n",
		"another kind":  "kind: Pod\napiVersion: v1\nmetadata: {name: " + secret + "}\n",
		"no resources":  "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "encryption.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := atrest.Load(t.Context(), path)
			if err == nil {
				t.Fatal("loaded")
			}
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), secret) {
				t.Errorf("error should name the file and no key: %v", err)
			}
		})
	}
	if _, err := atrest.Load(t.Context(), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("loaded a file that is not there")
	}
	if keys, err := atrest.Load(t.Context(), ""); err != nil || keys.IDs != nil {
		t.Errorf("no file: %v, %v; want no keys and no error", keys, err)
	}
}
