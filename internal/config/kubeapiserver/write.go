package kubeapiserver

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Serious reports whether anything is left out that may change somebody's
// access.
func (r *Result) Serious() bool {
	for _, n := range r.Notes {
		if n.Serious {
			return true
		}
	}
	return false
}

// Tell writes the notes, a line each.
func (r *Result) Tell(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, n := range r.Notes {
		fmt.Fprintln(out, n)
	}
	return out.Flush()
}

// String returns the note in one line.
func (n Note) String() string {
	kind := "note"
	if n.Serious {
		kind = "warning"
	}
	return strings.Join(strings.Fields(kind+": "+n.Subject+": "+n.Text), " ")
}

// WriteYAML writes the configuration in the form of a file, with the notes as
// comments before it and every field explained.
func (r *Result) WriteYAML(w io.Writer, from string) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# Made by gatehouse import kube-apiserver from %s.\n", strings.Join(strings.Fields(from), " "))
	for _, n := range r.Notes {
		fmt.Fprintf(out, "# %s\n", n)
	}
	fmt.Fprintln(out)
	if err := r.Config.WriteYAML(out); err != nil {
		return err
	}
	return out.Flush()
}
