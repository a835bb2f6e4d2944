package atrest_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse.dev/gatehouse/internal/api/atrest"

	"gatehouse.dev/gatehouse/test/vectors"
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
	f.Add([]byte("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}]}}, {identity: {}}]}]"))
	f.Add([]byte("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{providers: [{kms: {name: a}}, {aesgcm: {keys: [{}]}}]}]"))
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

// Every text of the JSON test suite in an EncryptionConfiguration, in which
// nothing is allowed that is not known.
func TestConfigurationsReadJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	for _, document := range []string{"%", `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[],"more":%}`} {
		taken := vectors.JSON(t).Check(t, document, false, func(text []byte) error {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := atrest.Read(path)
			return err
		})
		if taken > 0 {
			t.Errorf("%s: %d texts are taken", document, taken)
		}
	}
}

// What comes after the first document would be read by nobody.
func TestOneDocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	const good = `{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[]}`
	for text, want := range map[string]bool{
		good: true, good + "\n": true, "---\n" + good + "\n...\n": true, "# keys\n" + good + " # all\n": true,
		good + "}": false, good + good: false, good + "\n---\n" + good: false, good + "\n---\n": false, good + " resources": false,
		"": false, "{}": false, `{"kind":"EncryptionConfiguration"}`: false, `{"apiVersion":"v1","kind":"EncryptionConfiguration"}`: false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := atrest.Read(path); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
