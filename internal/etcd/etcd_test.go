package etcd_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/etcd"
)

func TestOpenRefusals(t *testing.T) {
	held, err := etcd.Open(filepath.Join(t.TempDir(), "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	newer := t.TempDir()
	write(t, filepath.Join(newer, "version"), "99\n")
	damaged := t.TempDir()
	write(t, filepath.Join(damaged, "version"), "x\n")
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "letter.txt"), "dear")
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")

	for _, tt := range []struct{ name, path, want string }{
		{"in use", held.Path, "another gatehouse process uses it"},
		{"of a newer version", newer, "has layout 99, and this version knows 1 at most"},
		{"damaged", damaged, "does not hold a layout version"},
		{"of something else", foreign, "letter.txt"},
		{"a file", file, "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := etcd.Open(tt.path)
			if err == nil {
				d.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", err, tt.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(foreign, "lock")); err == nil {
		t.Error("a refused directory was written to")
	}
}

func TestOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	first, err := etcd.Open(path)
	if err != nil || !first.Fresh {
		t.Fatalf("first: %v, fresh %v", err, first != nil && first.Fresh)
	}
	first.Close()
	second, err := etcd.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Fresh {
		t.Error("an opened directory is fresh again")
	}
}

func TestEmbeddedKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	e, err := etcd.Start(t.Context(), dir, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client().Put(t.Context(), "/k", "v"); err != nil {
		t.Fatal(err)
	}
	e.Close()
	e, err = etcd.Start(t.Context(), dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Client().Get(t.Context(), "/k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Errorf("after a restart: %v, %v", got, err)
	}
}

func TestClaim(t *testing.T) {
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	claim := func(ca string, signing, encryption string) etcd.Claim {
		return etcd.Claim{Authorities: strings.Fields(ca), Signing: strings.Fields(signing), Encryption: strings.Fields(encryption)}
	}
	for _, tt := range []struct {
		name  string
		claim etcd.Claim
		want  string // of the error
	}{
		{"the first one takes the store", claim("ca", "s1", "e1"), ""},
		{"the same again", claim("ca", "s1", "e1"), ""},
		{"another authority", claim("other", "s1", "e1"), "client CA ca"},
		{"another signing key", claim("ca", "s2", "e1"), "service account key s1"},
		{"another encryption key", claim("ca", "s1", "e2"), "encryption key e1"},
		{"no encryption", claim("ca", "s1", ""), "encryption key e1"},
		{"a rotated key", claim("ca", "s2 s1", "e1"), ""},
		{"the old keys alone", claim("ca", "s1", "e1"), "service account key s2"},
		{"without the old key", claim("ca", "s2", "e1"), ""},
		{"a second authority", claim("ca ca2", "s2", "e1"), ""},
		{"the second authority first", claim("ca2 ca", "s2", "e1"), ""},
		{"the first authority alone", claim("ca", "s2", "e1"), "client CA ca2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.claim.Hold(t.Context(), e.Client())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, etcd.ErrForeign) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrForeign with %q", err, tt.want)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
