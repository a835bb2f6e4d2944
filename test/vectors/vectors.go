// Package vectors has texts that others have written to try parsers with, for
// all packages that read what comes from outside.
package vectors

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

//go:embed testdata/json.json.gz
var jsonSuite []byte

//go:embed testdata/redirects.txt
var redirects string

// A Suite is JSONTestSuite: texts by their names.
type Suite struct {
	// Parsing are texts of which those named y_ are JSON, those named n_ are
	// none, and those named i_ are up to the parser.
	Parsing map[string][]byte `json:"test_parsing"`
	// Transform are texts that parsers read in several ways.
	Transform map[string][]byte `json:"test_transform"`
}

// JSON returns the suite.
func JSON(t testing.TB) Suite {
	t.Helper()
	var s Suite
	r, err := gzip.NewReader(bytes.NewReader(jsonSuite))
	if err == nil {
		err = errors.Join(json.NewDecoder(r).Decode(&s), r.Close())
	}
	if err != nil || len(s.Parsing) != 318 || len(s.Transform) != 22 {
		t.Fatalf("%d and %d texts, %v", len(s.Parsing), len(s.Transform), err)
	}
	return s
}

// Check reads every text of the suite at the % of a document with parse. What is
// no JSON must be refused; what is JSON must be taken where it is free, which is
// where the value is one that nobody reads. It returns how many are taken.
func (s Suite) Check(t testing.TB, document string, free bool, parse func(document []byte) error) (taken int) {
	t.Helper()
	for name, text := range s.Parsing {
		err := parse([]byte(strings.Replace(document, "%", string(text), 1)))
		switch {
		case err == nil && name[0] == 'n':
			t.Errorf("%s: %.100q is taken in %s", name, text, document)
		case err != nil && name[0] == 'y' && free:
			t.Errorf("%s: %.100q is refused in %s: %v", name, text, document, err)
		case err == nil:
			taken++
		}
	}
	return taken
}

// Redirects returns addresses, whole or in part, that lead parsers astray.
func Redirects() []string { return strings.Split(strings.TrimSuffix(redirects, "\n"), "\n") }
