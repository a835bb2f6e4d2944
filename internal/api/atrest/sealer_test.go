package atrest_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gatehouse.dev/gatehouse/internal/api/atrest"
)

func TestSealer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := atrest.Create(path); err != nil {
		t.Fatal(err)
	}
	sealer := func() atrest.Sealer {
		keys, err := atrest.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return keys.Sealer()
	}
	s := sealer()
	plain := []byte("private key")
	sealed, err := s.Seal(t.Context(), "/a", plain)
	if err != nil || bytes.Contains(sealed, plain) {
		t.Fatalf("sealed as %q, %v", sealed, err)
	}
	if got, old, err := s.Open(t.Context(), "/a", sealed); err != nil || old || !bytes.Equal(got, plain) {
		t.Errorf("opened: %q, old %v, %v", got, old, err)
	}
	if _, err := atrest.Rotate(path); err != nil {
		t.Fatal(err)
	}
	if got, old, err := sealer().Open(t.Context(), "/a", sealed); err != nil || !old || !bytes.Equal(got, plain) {
		t.Errorf("opened after a rotation: %q, old %v, %v", got, old, err)
	}
	sealed[len(sealed)-1] ^= 1
	if got, _, err := s.Open(t.Context(), "/a", sealed); err == nil {
		t.Errorf("opened what was changed: %q", got)
	}
	if got, _, err := s.Open(t.Context(), "/a", plain); !errors.Is(err, atrest.ErrPlain) {
		t.Errorf("opened what was never sealed: %q, %v", got, err)
	}

	const open = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: [%], providers: [{identity: {}}]}]\n"
	for _, resource := range []string{"secrets", "configmaps"} {
		if err := os.WriteFile(path, bytes.ReplaceAll([]byte(open), []byte("%"), []byte(resource)), 0o600); err != nil {
			t.Fatal(err)
		}
		if sealed, err := sealer().Seal(t.Context(), "/a", plain); !errors.Is(err, atrest.ErrPlain) || sealed != nil {
			t.Errorf("%s in plain text: sealed as %q, %v", resource, sealed, err)
		}
	}
}
