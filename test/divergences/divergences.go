// Package divergences reads docs/kubernetes-divergences.md, so that a test which
// accepts a difference from Kubernetes has to name the row that tells of it.
package divergences

import (
	"os"
	"strings"
	"testing"
)

// A Page is what the page tells: the first cell of each row of its tables.
type Page struct{ rows []string }

// Read reads the page at path.
func Read(t testing.TB, path string) *Page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := parse(string(text))
	if len(p.rows) < 20 {
		t.Fatalf("%s: found %d rows, so the page was not read", path, len(p.rows))
	}
	return p
}

func parse(text string) *Page {
	p := &Page{}
	for line := range strings.Lines(text) {
		cell, ok := strings.CutPrefix(line, "| ")
		if !ok {
			continue
		}
		what, _, _ := strings.Cut(cell, " |")
		if what != "what" {
			p.rows = append(p.rows, what)
		}
	}
	return p
}

// Tells reports whether words, of some length, are a part of what one row, and
// only one, tells of.
func (p *Page) Tells(words string) bool {
	n := 0
	for _, row := range p.rows {
		if strings.Contains(row, words) {
			n++
		}
	}
	return n == 1 && len(words) > 10
}
