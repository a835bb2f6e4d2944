package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// An output is the flag -o of what can be printed for people and for programs.
type output struct{ format string }

type table interface{ table(io.Writer) error }

func addOutput(cmd *cobra.Command) *output {
	o := &output{}
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "The format: table, json or yaml.")
	return o
}

func (o *output) check(cmd *cobra.Command) error {
	if slices.Contains([]string{"table", "json", "yaml"}, o.format) {
		return nil
	}
	return usage(cmd, fmt.Sprintf("there is no format %q", o.format), "choose -o table, -o json or -o yaml")
}

func (o *output) write(w io.Writer, v table) error {
	switch o.format {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	case "yaml":
		text, err := yaml.Marshal(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	return v.table(w)
}

// A progress is a line on a terminal that is written over and over. Elsewhere it
// is nothing.
type progress struct {
	w     io.Writer
	shown time.Time
}

// progressEvery keeps a terminal readable.
const progressEvery = 100 * time.Millisecond

func newProgress(w io.Writer) *progress {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return &progress{w: w}
	}
	return &progress{}
}

func (p *progress) say(format string, args ...any) {
	if p.w == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

func (p *progress) end() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
