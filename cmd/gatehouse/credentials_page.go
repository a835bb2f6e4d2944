package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/register"
)

// A credentialOutput is the flag -o of the commands that show credentials.
type credentialOutput struct{ format string }

func addCredentialOutput(cmd *cobra.Command) *credentialOutput {
	o := &credentialOutput{}
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "The format: table, wide, json, yaml or name.")
	return o
}

func (o *credentialOutput) check(cmd *cobra.Command) error {
	if slices.Contains([]string{"table", "wide", "json", "yaml", "name"}, o.format) {
		return nil
	}
	return usage(cmd, fmt.Sprintf("there is no format %q", o.format), "choose -o table, wide, json, yaml or name")
}

// page returns a page in the format.
func (o *credentialOutput) page(cmd *cobra.Command, w io.Writer) *credentialPage {
	return &credentialPage{w: w, notes: cmd.ErrOrStderr(), format: o.format, now: time.Now()}
}

// A credentialPage writes credentials: tables and names as they come, the others
// as one object at the end.
type credentialPage struct {
	w, notes io.Writer
	format   string
	now      time.Time
	// single writes the only object there is, and no list of it.
	single bool
	all    []register.Credential
	begun  bool
}

func (p *credentialPage) show(some []register.Credential) error {
	switch p.format {
	case "json", "yaml":
		p.all = append(p.all, some...)
		return nil
	case "name":
		for _, c := range some {
			if _, err := fmt.Fprintf(p.w, "credential.%s/%s\n", register.Group, visible(c.Name)); err != nil {
				return err
			}
		}
		p.begun = true
		return nil
	default:
		return p.rows(some)
	}
}

// rows writes rows of a table, as kubectl does.
func (p *credentialPage) rows(some []register.Credential) error {
	out := tabwriter.NewWriter(p.w, 6, 4, 3, ' ', 0)
	columns := credential.Columns()
	line := func(cell func(i int) string) {
		var shown []string
		for i, c := range columns {
			if c.Priority == 0 || p.format == "wide" {
				shown = append(shown, cell(i))
			}
		}
		fmt.Fprintln(out, strings.Join(shown, "\t")) // an error stays, and Flush returns it
	}
	if !p.begun {
		line(func(i int) string { return strings.ToUpper(columns[i].Name) })
	}
	p.begun = true
	for _, c := range some {
		cells := credential.Cells(c, p.now)
		line(func(i int) string { return visible(fmt.Sprint(cells[i])) })
	}
	return out.Flush()
}

// visible replaces what would move the cursor: users choose their names.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func (p *credentialPage) end() error {
	var object any = &register.CredentialList{
		TypeMeta: metav1.TypeMeta{Kind: register.Kind + "List", APIVersion: register.Group + "/" + register.Version},
		Items:    append([]register.Credential{}, p.all...),
	}
	if p.single && len(p.all) == 1 {
		object = &p.all[0]
	}
	switch p.format {
	case "json":
		encoder := json.NewEncoder(p.w)
		encoder.SetIndent("", "    ")
		return encoder.Encode(object)
	case "yaml":
		text, err := yaml.Marshal(object)
		if err == nil {
			_, err = p.w.Write(text)
		}
		return err
	}
	if p.begun {
		return nil
	}
	_, err := fmt.Fprintln(p.notes, "nothing that was issued fits")
	return err
}
