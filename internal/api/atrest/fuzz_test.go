package atrest_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse.dev/gatehouse/internal/api/atrest"
)

// FuzzRead reads any text as an EncryptionConfiguration. Keys that are accepted
// can seal, are told apart, and are those that are described.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "encryption.yaml")
	if err := atrest.Create(path); err != nil {
		f.Fatal(err)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made)
	f.Add([]byte("resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}]}}, {identity: {}}]}]"))
	f.Add([]byte("resources: [{providers: [{kms: {name: a}}, {aesgcm: {keys: [{}]}}]}]"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := atrest.Read(path)
		if err != nil {
			return
		}
		described, err := atrest.Describe(path)
		if err != nil {
			t.Fatalf("read but not described: %v", err)
		}
		for _, d := range described {
			if !slices.Contains(keys.IDs, d.ID) {
				t.Errorf("%s is described and not read", d.ID)
			}
		}
		if len(keys.IDs) == 0 {
			return
		}
		id, seal := keys.Seal([]byte("digest"))
		if err := keys.CheckSeal(id, []byte("digest"), seal); err != nil {
			t.Errorf("its own seal is refused: %v", err)
		}
		if keys.CheckSeal(id, []byte("digesT"), seal) == nil {
			t.Error("a seal of something else is accepted")
		}
	})
}
