package reload_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"gatehouse.dev/gatehouse/internal/reload"
)

func parse(b []byte) (string, error) {
	if strings.HasPrefix(string(b), "bad") {
		return "", errors.New("line 1: not good")
	}
	return string(b), nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if _, err := reload.Open(path, parse, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of no file = %v", err)
	}
	if _, err := reload.Open(dir, parse, nil); err == nil {
		t.Error("Open of a folder succeeds")
	}
	write(t, path, "bad")
	if _, err := reload.Open(path, parse, nil); err == nil || !strings.Contains(err.Error(), path+": line 1") {
		t.Errorf("Open of a bad file = %v, want an error that names it", err)
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	var notes []string
	f, err := reload.Open(path, parse, func(err error) {
		if err == nil {
			notes = append(notes, "ok")
		} else {
			notes = append(notes, "problem")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		content string // "" removes the file
		value   string
		problem string
		notes   string
	}{
		{"one", "one", "", ""},
		{"two", "two", "", "ok"},
		{"bad", "two", "not good", "ok problem"},
		{"bad", "two", "not good", "ok problem"},
		{"bad again", "two", "not good", "ok problem"},
		{"", "two", "no such file", "ok problem problem"},
		{"two", "two", "", "ok problem problem ok"},
		{"three", "three", "", "ok problem problem ok ok"},
	}
	for i, s := range steps {
		if s.content == "" {
			os.Remove(path)
		} else {
			write(t, path, s.content)
		}
		f.Check()
		problem := ""
		if err := f.Status().Problem; err != nil {
			problem = err.Error()
		}
		if f.Value() != s.value || (problem == "") != (s.problem == "") || !strings.Contains(problem, s.problem) {
			t.Errorf("step %d: value %q, problem %q, want %q, %q", i, f.Value(), problem, s.value, s.problem)
		}
		if got := strings.Join(notes, " "); got != s.notes {
			t.Errorf("step %d: notes %q, want %q", i, got, s.notes)
		}
	}
	if got, want := f.Status(), (reload.Status{Successes: 4, Failures: 3}); got != want {
		t.Errorf("Status = %+v, want %+v", got, want)
	}
}

func TestRunReadsEveryMinuteAndAfterEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	synctest.Test(t, func(t *testing.T) {
		f, err := reload.Open(path, parse, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan fsnotify.Event)
		done := make(chan struct{})
		go func() { f.Follow(ctx, events); close(done) }()
		synctest.Wait()

		write(t, path, "two")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if f.Value() != "one" {
			t.Error("the file is read without a reason")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if f.Value() != "two" {
			t.Error("the file is not read after a minute")
		}

		write(t, path, "three")
		for range 30 { // a folder that is never at rest
			events <- fsnotify.Event{}
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if f.Value() != "three" {
			t.Error("events do not lead to a look at the file")
		}
		cancel()
		<-done
	})
}

// The real watch, on a rename as editors and mounted volumes do it.
func TestRunSeesRename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "one")
	changed := make(chan error, 8)
	f, err := reload.Open(path, parse, func(err error) { changed <- err })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	// The first change may be seen by the look that Run begins with; the watch
	// is in place then, and sees the second.
	for _, text := range []string{"two", "three"} {
		write(t, filepath.Join(dir, "new"), text)
		if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
			t.Fatal(err)
		}
		if err := <-changed; err != nil || f.Value() != text {
			t.Errorf("after a rename: %q, %v, want %q", f.Value(), err, text)
		}
	}
	cancel()
	<-done
}

// A good content is counted when it is in force: who waits for the count may rely
// on what notify does. A bad one puts nothing in force, and is known at once.
func TestCountedWhenInForce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	var f *reload.File[string]
	var during []reload.Status
	f, err := reload.Open(path, parse, func(error) { during = append(during, f.Status()) })
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"two", "bad", "three"} {
		write(t, path, text)
		f.Check()
	}
	if len(during) != 3 || during[0].Successes != 1 || during[1].Failures != 1 || during[1].Problem == nil || during[2].Problem == nil {
		t.Errorf("while notify ran: %+v", during)
	}
	if got := f.Status(); got != (reload.Status{Successes: 3, Failures: 1}) {
		t.Errorf("after it: %+v", got)
	}
}
