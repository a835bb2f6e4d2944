package wholefile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

func TestWriteMakesDirectoryAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "key")
	for _, perm := range []fs.FileMode{0o644, 0o600, 0o640} {
		if err := wholefile.Write(path, []byte("x"), perm); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != perm {
			t.Errorf("mode = %v, %v, want %v", info.Mode(), err, perm)
		}
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("directory mode = %v, %v, want 0700", dir.Mode(), err)
	}
}

// A reader that opens the file at any moment sees one of the contents, whole.
func TestWriteIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	if err := wholefile.Write(path, contents[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := wholefile.Read(path)
				if err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
					t.Errorf("read %d bytes, %v: a part", len(got), err)
					return
				}
			}
		})
	}
	for i := range 30 {
		if err := wholefile.Write(path, contents[i%2], 0o600); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

// A write that cannot be finished leaves what was there, and no litter.
func TestFailedWriteLeavesTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	// A directory in the place of the file makes the last step, the rename,
	// fail.
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := wholefile.Write(path, []byte("new"), 0o600)
	if want := "writing " + path + ": file exists"; err == nil || err.Error() != want {
		t.Fatalf("error %v, want %q: always the same", err, want)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "file" {
		t.Errorf("directory holds %v, %v, want only what was there", left, err)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, wholefile.Limit+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := wholefile.Read(big); err == nil || !strings.Contains(err.Error(), big) {
		t.Errorf("Read of a big file: %v, want an error that names it", err)
	}
	if err := os.Truncate(big, wholefile.Limit); err != nil {
		t.Fatal(err)
	}
	if data, err := wholefile.Read(big); err != nil || len(data) != wholefile.Limit {
		t.Errorf("Read of a file at the limit: %d bytes, %v", len(data), err)
	}
	if _, err := wholefile.Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of no file: %v, want ErrNotExist", err)
	}
	if _, err := wholefile.Read(dir); err == nil {
		t.Error("read a directory")
	}
}

func TestReadPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for perm, ok := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o660: true,
		0o644: false, 0o604: false, 0o602: false, 0o666: false,
	} {
		if err := wholefile.Write(path, []byte("k"), perm); err != nil {
			t.Fatal(err)
		}
		if _, err := wholefile.ReadPrivate(path); (err == nil) != ok {
			t.Errorf("ReadPrivate at mode %04o: %v, want ok = %v", perm, err, ok)
		}
	}
	if _, err := wholefile.ReadPrivate(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadPrivate of no file: %v, want ErrNotExist", err)
	}
}
