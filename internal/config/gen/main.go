// Command gen writes docs/configuration.md, which describes every setting of a
// server. All of it is made from the types, comments and defaults of package
// config, and from one example file of its tests. It takes the path to write
// to.
package main

//go:generate go run . ../../../docs/configuration.md

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gatehouse.dev/gatehouse/internal/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want the path to write to, got %d arguments", len(args))
	}
	page, err := render(filepath.Join("..", "testdata", "example.good.yaml"))
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], page, 0o644)
}

const head = `# Configuration

<!-- Made by internal/config/gen from the comments of internal/config: change those, then run go generate ./internal/config/gen -->

A server is configured by flags, by one file, or by both: ` + "`gatehouse serve --config FILE`" + `.
A flag that is given wins over the file, and the file wins over the defaults.
Flags that kube-apiserver has as well have its name, type and meaning.

The file is strict. An unknown or repeated field, a value of another type, a
second document, an anchor or an alias is refused, and so is every setting that
contradicts another one or would have no effect: all at once, each with its line
and what to do, before anything listens. A field that is left out, or has no
value, keeps its default. A relative path in the file is relative to the folder
of the file; one in a flag, to where the server is started. The file holds no
secret, only the paths of secrets.

    gatehouse config validate FILE       say what is wrong with a file, if anything
    gatehouse config view --config FILE  print what is in effect, with comments
    gatehouse config view --defaults     print what holds where nothing is said

`

// render returns the page, with the file at example as its example.
func render(example string) ([]byte, error) {
	c, err := config.Read(example)
	if err != nil {
		return nil, err
	}
	page := bytes.NewBufferString(head)
	for _, section := range config.Reference() {
		writeSection(page, section)
	}
	fmt.Fprint(page, "## Example\n\nA server that shares an etcd cluster with others, with every field.\n\n```yaml\n")
	var listed bytes.Buffer
	if err := c.WriteYAML(&listed); err != nil {
		return nil, err
	}
	// The example's own paths are relative to it, and are shown as written.
	page.WriteString(strings.ReplaceAll(listed.String(), filepath.Dir(example)+string(filepath.Separator), ""))
	fmt.Fprint(page, "```\n")
	return page.Bytes(), nil
}

func writeSection(w io.Writer, s config.Section) {
	title, text := s.Name, s.Text
	if title == "" {
		title, text = "The head of the file", "Both fields have to be there."
	}
	fmt.Fprintf(w, "## %s\n\n%s\n\n| field | flag | type | default | meaning |\n|---|---|---|---|---|\n", title, text)
	for _, x := range s.Settings {
		flag := ""
		if x.Flag != "" {
			flag = "`" + x.Flag + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | `%s` | %s |\n", x.Path, flag, x.Type, x.Default, cell(x.Text))
	}
	fmt.Fprintln(w)
}

// cell keeps text from ending its cell, or from being read as emphasis.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}
