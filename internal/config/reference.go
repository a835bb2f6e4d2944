package config

import (
	_ "embed" // the comments of the types are the reference
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

// The sources whose comments are the reference, also at run time: for --help,
// and for the comments of a listed configuration.
var (
	//go:embed configuration.go
	configurationSource string
	//go:embed audit.go
	auditSource string
	//go:embed oidc.go
	oidcSource string
	//go:embed webhook.go
	webhookSource string
	//go:embed certificates.go
	certificatesSource string
)

// A Section is one group of settings.
type Section struct {
	// Name is the name of the section in the file, or "" for the head of it.
	Name string
	// Text says what the section is about.
	Text     string
	Settings []Setting
}

// A Setting is one setting as the reference describes it.
type Setting struct {
	// Path is the field in the file, with dots.
	Path string
	// Flag is the flag with its dashes, or "" if there is none.
	Flag string
	// Type says in words what values there are.
	Type string
	// Default is the value where nothing is said, or "none".
	Default string
	// Text is the meaning and the unit.
	Text string
	// Reads is whether the value names files that the server reads.
	Reads bool
}

// Reference returns everything that can be set, in the order of a file.
func Reference() []Section {
	texts := comments()
	types := reflect.TypeFor[Configuration]()
	sections := []Section{{}}
	for i := range types.NumField() {
		if f := types.Field(i); f.Type.Kind() == reflect.Struct {
			sections = append(sections, Section{Name: strictyaml.FieldName(f), Text: texts[f.Type.Name()]})
		}
	}
	for _, s := range Default().settings() {
		name, _, nested := strings.Cut(s.path, ".")
		if !nested {
			name = ""
		}
		for i := range sections {
			if sections[i].Name == name {
				sections[i].Settings = append(sections[i].Settings, s.describe(texts))
			}
		}
	}
	return sections
}

func (s setting) describe(texts map[string]string) Setting {
	text, _, _ := strings.Cut(texts[s.doc], " Default: ")
	d := Setting{Path: s.path, Type: s.kind(), Default: s.text(), Text: text, Reads: s.use == "read"}
	if s.flag != "" {
		d.Flag = s.dashed()
	}
	return d
}

// comments returns the comments in the sources of the configuration, each as
// one line: of a type by its name, of a field by those of type and field.
func comments() map[string]string {
	texts := make(map[string]string)
	for _, source := range []string{configurationSource, auditSource, oidcSource, webhookSource, certificatesSource} {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			panic("internal error: reading own comments: " + err.Error())
		}
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				addComments(texts, decl)
			}
		}
	}
	return texts
}

func addComments(texts map[string]string, decl *ast.GenDecl) {
	for _, s := range decl.Specs {
		spec := s.(*ast.TypeSpec)
		texts[spec.Name.Name] = oneLine(decl.Doc)
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range structure.Fields.List {
			for _, name := range f.Names {
				texts[spec.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
