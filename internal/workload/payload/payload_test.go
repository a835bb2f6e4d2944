package payload_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gatehouse.dev/gatehouse/internal/workload/payload"
)

func open(t *testing.T) (payload.Dir, string) {
	t.Helper()
	path := t.TempDir()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return payload.Dir{Root: root, Mode: 0o640}, path
}

func text(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, s := range files {
		out[name] = []byte(s)
	}
	return out
}

// look checks that the folder is as a kubelet would have made it.
func look(t *testing.T, path string, want map[string]string) {
	t.Helper()
	var names, folders []string
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case e.IsDir():
			folders = append(folders, e.Name())
		case e.Type() != fs.ModeSymlink:
			t.Errorf("%s is neither a folder nor a link", e.Name())
		case e.Name() != "..data":
			names = append(names, e.Name())
		}
	}
	to, err := os.Readlink(filepath.Join(path, "..data"))
	if err != nil || !slices.Equal(folders, []string{to}) || !strings.HasPrefix(to, "..2") {
		t.Errorf("..data leads to %q, %v, and the folders are %q", to, err, folders)
	}
	if len(names) != len(want) {
		t.Errorf("files %q, want %d", names, len(want))
	}
	for name, content := range want {
		file := filepath.Join(path, name)
		if link, err := os.Readlink(file); err != nil || link != "..data/"+name {
			t.Errorf("%s leads to %q, %v", name, link, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, content)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s has mode %v, %v", name, info, err)
		}
	}
}

func TestWrite(t *testing.T) {
	d, path := open(t)
	steps := []map[string]string{
		{"token": "1", "ca.crt": "ca"},
		{"token": "2", "ca.crt": "ca"},
		{"token": "3", "namespace": "ns", ".hidden": "", "a..b": "x"},
		{},
		{"token": "4"},
	}
	for _, files := range steps {
		if err := d.Write(text(files)); err != nil {
			t.Fatal(err)
		}
		look(t, path, files)
	}
	if err := d.Clear(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
		t.Errorf("after Clear there is %v, %v", left, err)
	}
	if err := d.Clear(); err != nil {
		t.Errorf("clearing what is clear: %v", err)
	}
}

// What is right already is not touched, so that nobody reads it again.
func TestWriteNothingNew(t *testing.T) {
	d, path := open(t)
	files := map[string]string{"token": "1"}
	if err := d.Write(text(files)); err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink(filepath.Join(path, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(text(files)); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Readlink(filepath.Join(path, "..data")); after != before {
		t.Errorf("the folder was made anew: %s, was %s", after, before)
	}
	// A link that is missing is put back.
	if err := os.Remove(filepath.Join(path, "token")); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(text(files)); err != nil {
		t.Fatal(err)
	}
	look(t, path, files)
}

// What a process that was killed in the middle has left does no harm.
func TestWriteAfterCrash(t *testing.T) {
	d, path := open(t)
	for _, dir := range []string{"..2026_01_01_00_00_00.ABCDEFGHIJ", "..2026_01_01_00_00_01.ABCDEFGHIJ"} {
		if err := os.Mkdir(filepath.Join(path, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"..data": "..2026_01_01_00_00_00.ABCDEFGHIJ", "..data_tmp": "..2026_01_01_00_00_01.ABCDEFGHIJ"} {
		if err := os.Symlink(to, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"token": "1"}
	if err := d.Write(text(files)); err != nil {
		t.Fatal(err)
	}
	look(t, path, files)
}

func TestWriteRefuses(t *testing.T) {
	for _, name := range []string{"", ".", "..", "..data", "../x", "a/b", "/etc/passwd", "a\x00b", "..2026_01_01_00_00_00.A"} {
		d, path := open(t)
		if err := d.Write(map[string][]byte{"token": {}, name: {}}); err == nil {
			t.Errorf("the name %q is taken", name)
		}
		if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
			t.Errorf("%q left %v, %v", name, left, err)
		}
	}
}

// What is not ours stays, and is in the way rather than overwritten.
func TestWriteKeepsStrangers(t *testing.T) {
	d, path := open(t)
	stranger := filepath.Join(path, "token")
	if err := os.WriteFile(stranger, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(text(map[string]string{"token": "1"})); err == nil {
		t.Error("a file of somebody else was taken over")
	}
	if err := d.Clear(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(stranger); err != nil || string(got) != "mine" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Readers who go through ..data once see files of one time.
func TestReadersSeeOneTime(t *testing.T) {
	d, path := open(t)
	version := func(i int) map[string][]byte {
		return map[string][]byte{"a": []byte(strconv.Itoa(i)), "b": bytes.Repeat([]byte(strconv.Itoa(i)), 10000)}
	}
	if err := d.Write(version(0)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				dir, err := os.OpenRoot(filepath.Join(path, "..data"))
				if err != nil {
					continue // between the look at the link and the way there
				}
				a, errA := dir.ReadFile("a")
				b, errB := dir.ReadFile("b")
				dir.Close()
				// The folder of before may have been removed meanwhile.
				if errA == nil && errB == nil && !bytes.Equal(bytes.Repeat(a, 10000), b) {
					t.Errorf("a is %s and b is of another time", a)
					return
				}
			}
		})
	}
	for i := range 200 {
		if err := d.Write(version(i)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}
