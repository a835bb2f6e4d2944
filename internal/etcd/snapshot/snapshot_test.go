package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
)

// begun is when the snapshots are begun.
var begun = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func unsealed([]byte) *snapshot.Seal { return nil }

func sealedBy(digest []byte) *snapshot.Seal {
	return &snapshot.Seal{Key: "e1", Code: append([]byte("code of "), digest...)}
}

// stream returns what etcd streams of a store with a claim and two keys, one of
// them written twice and one deleted.
func stream(t *testing.T) []byte {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	claim := etcd.Claim{Authorities: []string{"ca"}, Signing: []string{"s1"}, Encryption: []string{"e1"}}
	if err := claim.Hold(t.Context(), e.Client()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"/a", "/a", "/b", "/c"} {
		if _, err := e.Client().Put(t.Context(), key, "v"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Client().Delete(t.Context(), "/c"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client().Put(t.Context(), epoch.Key, `{"epoch":5,"revoked":3,"changed":"2026-01-01T00:00:00Z"}`); err != nil {
		t.Fatal(err)
	}
	r, err := e.Client().Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sealed(t *testing.T, data []byte, seal snapshot.Sealer) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := snapshot.Copy(&out, iotest.OneByteReader(bytes.NewReader(data[len(data)-5000:])), begun, seal); err == nil {
		t.Fatal("the end of a snapshot was taken for one")
	}
	out.Reset()
	if err := snapshot.Copy(&out, bytes.NewReader(data), begun, seal); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func save(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(path, data, 0o400); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadTellsWhatASnapshotHolds(t *testing.T) {
	data := stream(t)
	for name, seal := range map[string]snapshot.Sealer{"sealed": sealedBy, "unsealed": unsealed} {
		t.Run(name, func(t *testing.T) {
			f, err := snapshot.Read(save(t, sealed(t, data, seal)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Keys != 4 || f.Revision != 8 || !f.Claimed || f.Claim.Encryption[0] != "e1" {
				t.Errorf("read %+v, want 4 keys, revision 8 and the claim", f)
			}
			if !f.Time.Equal(begun) || f.Revocations.Epoch != 5 || f.Revocations.Revoked != 3 {
				t.Errorf("begun at %v with %+v", f.Time, f.Revocations)
			}
			switch want := seal(f.Digest); {
			case want == nil && f.Seal != nil, want != nil && f.Seal == nil:
				t.Errorf("seal = %v, want %v", f.Seal, want)
			case want != nil && (f.Seal.Key != want.Key || !bytes.Equal(f.Seal.Code, want.Code)):
				t.Errorf("seal = %v, want %v", f.Seal, want)
			}
		})
	}
}

// The seal is about the time as well: a snapshot cannot be made a younger one.
func TestSealIsAboutTime(t *testing.T) {
	data := sealed(t, stream(t), sealedBy)
	younger := bytes.Replace(data, []byte("2026-01-02"), []byte("2027-01-02"), 1)
	sum := sha256.Sum256(younger[:len(younger)-sha256.Size])
	f, err := snapshot.Read(save(t, append(younger[:len(younger)-sha256.Size], sum[:]...)))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Time.Equal(begun.AddDate(1, 0, 0)) || bytes.Equal(f.Seal.Code, sealedBy(f.Digest).Code) {
		t.Errorf("one of %v has a good seal", f.Time)
	}
}

func TestReadWhatEtcdSavedItself(t *testing.T) {
	f, err := snapshot.Read(save(t, stream(t)))
	if err != nil || f.Keys != 4 || f.Revocations.Epoch != 5 || !f.Time.IsZero() || f.Seal != nil {
		t.Errorf("read %+v, %v", f, err)
	}
}

func TestReadRefusals(t *testing.T) {
	good := sealed(t, stream(t), sealedBy)
	rehash := func(data []byte) []byte {
		sum := sha256.Sum256(data[:len(data)-sha256.Size])
		return append(data[:len(data)-sha256.Size:len(data)-sha256.Size], sum[:]...)
	}
	changed := func(at int) []byte {
		data := bytes.Clone(good)
		data[at] ^= 1
		return data
	}
	blank := make([]byte, len(good))
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "a size of 0 bytes"},
		{"cut short", good[:len(good)-512], "SHA-256"},
		{"cut in a page", good[:len(good)-1], "a size of"},
		{"a bit of the database", changed(9000), "SHA-256"},
		{"a bit of the seal", changed(len(good) - 500), "SHA-256"},
		{"a bit of the hash", changed(len(good) - 1), "SHA-256"},
		{"no seal where one begins", rehash(changed(len(good) - 32 - 512 + 30)), "its seal cannot be read"},
		{"no database", rehash(blank), "cannot be read"},
		{"pages of noise", rehash(noise(good)), "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := snapshot.Read(save(t, tt.data))
			if !errors.Is(err, snapshot.ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read %+v, %v; want an error with %q", f, err, tt.want)
			}
		})
	}
	if _, err := snapshot.Read(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
}

// noise keeps the two pages that bbolt checks, and spoils the others.
func noise(data []byte) []byte {
	out := bytes.Clone(data)
	for i := 2 * os.Getpagesize(); i < len(out)-sha256.Size-512; i++ {
		out[i] ^= byte(i*7 + 3)
	}
	return out
}

func TestCopyRefusesABrokenStream(t *testing.T) {
	data := stream(t)
	broken := errors.New("broken")
	for name, r := range map[string]io.Reader{
		"nothing":   strings.NewReader(""),
		"a half":    bytes.NewReader(data[:len(data)/2]),
		"an error":  io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(broken)),
		"a bit off": bytes.NewReader(append([]byte{data[0] ^ 1}, data[1:]...)),
	} {
		if err := snapshot.Copy(io.Discard, r, begun, sealedBy); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("gatehouse snapshot seal v2\n{}"), true)
	f.Add(bytes.Repeat([]byte{0xed, 0xda, 0x0c, 0xed}, 4096), true)
	f.Add(make([]byte, 9000), false)
	f.Fuzz(func(t *testing.T, data []byte, honest bool) {
		if honest {
			data = append(data, make([]byte, 512-len(data)%512)...)
			sum := sha256.Sum256(data)
			data = append(data, sum[:]...)
		}
		if _, err := snapshot.Read(save(t, data)); err == nil {
			t.Error("made up bytes were taken for a snapshot")
		}
	})
}
