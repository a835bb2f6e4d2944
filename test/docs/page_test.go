package docs_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// A step is one command of a page, and what it prints.
type step struct {
	line    int // in the page, of the command
	command string
	want    []string
}

// readPage returns the steps of a page, or nil if it does not have the marker.
func readPage(t *testing.T, path string) []step {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), marker) {
		return nil
	}
	steps, problem := parse(string(text))
	if problem != "" {
		t.Fatalf("%s:%s", path, problem)
	}
	if len(steps) == 0 {
		t.Fatalf("%s has a marker and no session", path)
	}
	return steps
}

// parse returns the steps of a page, or what is wrong with it.
func parse(text string) (steps []step, problem string) {
	const fence = "```"
	inside, fresh := false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case !inside:
			inside = line == fence+"console"
			fresh = inside
		case line == fence:
			inside = false
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
			fresh = false
		case fresh:
			return nil, at(i+1, "a block of language console does not begin with a command")
		default:
			last := &steps[len(steps)-1]
			if more, ok := strings.CutPrefix(line, "> "); ok && len(last.want) == 0 {
				last.command += "\n" + more
				continue
			}
			last.want = append(last.want, line)
		}
	}
	if inside {
		return nil, "a block of language console does not end"
	}
	return steps, ""
}

// at says where in a page something is wrong.
func at(line int, what string) string { return strconv.Itoa(line) + ": " + what }

// fails reports whether a command that prints this must fail.
func (s step) fails() bool {
	for _, line := range s.want {
		if line == "no" || strings.HasPrefix(line, "no - ") || strings.HasPrefix(line, "error") || strings.HasPrefix(line, "Error") {
			return true
		}
	}
	return false
}

// reads reports whether the command changes nothing, so that it may be
// repeated.
func (s step) reads() bool {
	for _, word := range []string{"kubectl get ", "kubectl auth can-i ", "kubectl auth whoami", "grep ", "tail "} {
		if strings.HasPrefix(s.command, word) {
			return true
		}
	}
	return false
}

func TestParse(t *testing.T) {
	steps, problem := parse("# Title\n```console\n$ cat <<EOF\n> one\n> EOF\none\n\n$ true\n```\n```sh\n$ not run\n```\n```console\n$ false\nerror: x\n```\n")
	if problem != "" || len(steps) != 3 {
		t.Fatalf("%d steps, problem %q", len(steps), problem)
	}
	if s := steps[0]; s.line != 3 || s.command != "cat <<EOF\none\nEOF" || strings.Join(s.want, "|") != "one|" || s.fails() {
		t.Errorf("first step: %+v", s)
	}
	if s := steps[2]; s.line != 14 || s.command != "false" || !s.fails() {
		t.Errorf("last step: %+v", s)
	}
	for _, bad := range []string{"```console\nno command\n```\n", "```console\n$ true\n"} {
		if _, problem := parse(bad); problem == "" {
			t.Errorf("%q is taken", bad)
		}
	}
}
