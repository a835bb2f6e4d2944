package reload_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/reload"
)

// joined reads the files that the text names, a line each, and joins them.
func joined(text []byte, read reload.Reader) (string, error) {
	var all []string
	for line := range strings.Lines(string(text)) {
		part, err := read(strings.TrimSpace(line))
		if err != nil {
			return "", err
		}
		if string(part) == "bad" {
			return "", errors.New("not good")
		}
		all = append(all, string(part))
	}
	return strings.Join(all, "+"), nil
}

func TestSetChangesWithAnyOfItsFiles(t *testing.T) {
	dir := t.TempDir()
	list, a, b := filepath.Join(dir, "list"), filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, list, a+"\n"+b+"\n")
	write(t, a, "1")
	if _, err := reload.OpenSet(list, joined, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("OpenSet without one of the files = %v", err)
	}
	write(t, b, "2")
	notes := 0
	f, err := reload.OpenSet(list, joined, func(error) { notes++ })
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []struct {
		file, content  string // "" removes the file
		value, problem string
		notes          int
	}{
		{a, "1", "1+2", "", 0},
		{b, "3", "1+3", "", 1},
		{a, "bad", "1+3", "not good", 2},
		{b, "4", "1+3", "not good", 2}, // a is bad still, and nothing of b is taken
		{a, "5", "5+4", "", 3},
		{b, "", "5+4", "no such file", 4},
		{b, "", "5+4", "no such file", 4},
		{b, "4", "5+4", "", 5},
		{list, a + "\n", "5", "", 6},
		{b, "9", "5", "", 6}, // it is no part of it any more
		{list, "", "5", "no such file", 7},
		{list, b + "\n", "9", "", 8},
	} {
		if s.content == "" {
			os.Remove(s.file)
		} else {
			write(t, s.file, s.content)
		}
		f.Check()
		problem := ""
		if err := f.Status().Problem; err != nil {
			problem = err.Error()
		}
		if f.Value() != s.value || (problem == "") != (s.problem == "") || !strings.Contains(problem, s.problem) || notes != s.notes {
			t.Errorf("step %d: value %q, problem %q, %d notes, want %q, %q, %d", i, f.Value(), problem, notes, s.value, s.problem, s.notes)
		}
	}
}

// TestRunWatchesTheFoldersOfAll changes a file in another folder than the first.
func TestRunWatchesTheFoldersOfAll(t *testing.T) {
	list, part := filepath.Join(t.TempDir(), "list"), filepath.Join(t.TempDir(), "part")
	write(t, list, part+"\n")
	write(t, part, "one")
	changed := make(chan struct{}, 8)
	f, err := reload.OpenSet(list, joined, func(error) { changed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	write(t, part, "two")
	for deadline := time.After(50 * time.Second); f.Value() != "two"; {
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("a change in the other folder is not seen before the minute is over")
		}
	}
	cancel()
	<-done
}

// What could not be decided is looked at again, though it has not changed.
func TestUnsettledIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "1")
	var undecided error
	var notes []error
	f, err := reload.Open(path, func(text []byte) (string, error) { return string(text), undecided }, func(err error) { notes = append(notes, err) })
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "2")
	undecided = fmt.Errorf("asking: %w", reload.ErrUnsettled)
	for range 3 {
		f.Check()
	}
	if s := f.Status(); f.Value() != "1" || !errors.Is(s.Problem, reload.ErrUnsettled) || s.Failures != 3 || len(notes) != 1 {
		t.Errorf("while undecided: %q, %+v, told %v", f.Value(), s, notes)
	}
	undecided = nil
	f.Check()
	if s := f.Status(); f.Value() != "2" || s.Problem != nil || len(notes) != 2 || notes[1] != nil {
		t.Errorf("once decided: %q, %+v, told %v", f.Value(), s, notes)
	}
	undecided = errors.New("bad")
	write(t, path, "3")
	for range 3 {
		f.Check()
	}
	if s := f.Status(); s.Failures != 4 {
		t.Errorf("what is bad was looked at again: %+v", s)
	}
}
