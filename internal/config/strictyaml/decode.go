// Package strictyaml reads YAML into structures, and writes it from them with
// a comment for every field.
//
// The one idea: a field is known by its json tag, and a value is what it looks
// like. Nothing is converted, ignored or overwritten. Refused are unknown and
// repeated fields, values of another type, a second document, anchors that are
// used, merged maps, and entries without a value; a field without a value is
// left as it is. All problems are told at once, each with its line, its path
// and its mend.
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Problem is one thing that is wrong with a document.
type Problem struct {
	// Line is the line it is in, or 0 if it is the whole document.
	Line int
	// Path names the field, as in "a.b[0].c", or is "" if it is none.
	Path string
	// What is wrong, and how to mend it, as an imperative.
	What, Mend string
}

// A Format is a kind of document.
type Format struct {
	// Head are the fields by which a document says that it is of the kind, each
	// with its one value. If they are not there, nothing else is looked at.
	Head [][2]string
	// Suggest returns how to mend an unknown field that is not a misspelt one of
	// its group, or "". It may be nil.
	Suggest func(name string) string
}

// Decode reads data into the structure that v points to. Its fields may be
// structures, slices, strings, booleans, numbers, and what implements
// [encoding.TextUnmarshaler], but no maps and no pointers. It returns the line
// of each path that has a value, and what is wrong. v is not to be used if
// something is. What v holds before are the defaults, and also show, to whom
// writes it wrongly, how a value is written.
func (f Format) Decode(data []byte, v any) (lines map[string]int, problems []Problem) {
	root, problem := parse(data)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	d := &decoder{suggest: f.Suggest, lines: make(map[string]int)}
	if d.head(root, f.Head) {
		d.value(root, reflect.ValueOf(v).Elem(), "")
	}
	return d.lines, d.problems
}

// One returns what is wrong with data if it is not one document with nothing
// after it. What another reader takes may be only the first.
func One(data []byte) *Problem {
	_, problem := parse(data)
	return problem
}

// parse returns the one document in data.
func parse(data []byte) (*yaml.Node, *Problem) {
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := reader.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{What: "is empty", Mend: "write at least its apiVersion and kind"}
	case err != nil:
		return nil, notYAML(err)
	}
	switch err := reader.Decode(&second); {
	case err == nil:
		return nil, &Problem{Line: second.Line, What: "begins a second document", Mend: "keep one document in a file"}
	case !errors.Is(err, io.EOF):
		return nil, notYAML(err)
	}
	return first.Content[0], nil
}

func notYAML(err error) *Problem {
	return &Problem{What: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), Mend: "correct it"}
}

// A decoder reads one document and collects what is wrong with it.
type decoder struct {
	suggest  func(name string) string
	lines    map[string]int
	problems []Problem
}

func (d *decoder) refuse(node *yaml.Node, path, what, mend string) {
	d.problems = append(d.problems, Problem{Line: node.Line, Path: path, What: what, Mend: mend})
}

// head reports whether the document is of the kind that has these fields.
func (d *decoder) head(root *yaml.Node, want [][2]string) bool {
	if root.Kind != yaml.MappingNode {
		d.refuse(root, "", "is "+kindOf(root)+", not a group of fields", "write at least its apiVersion and kind")
		return false
	}
	got := make(map[string]string)
	for i := 0; i+1 < len(root.Content); i += 2 {
		got[root.Content[i].Value] = root.Content[i+1].Value
	}
	for _, field := range want {
		name, value := field[0], field[1]
		switch got[name] {
		case value:
		case "":
			d.refuse(root, name, "is missing", "write "+name+": "+value)
		default:
			d.refuse(root, name, fmt.Sprintf("%q is not known", got[name]), "write "+name+": "+value)
		}
	}
	return len(d.problems) == 0
}

// value reads node into v. A field without a value, as where all below it is a
// comment, keeps its default.
func (d *decoder) value(node *yaml.Node, v reflect.Value, path string) {
	switch {
	case node.Kind == yaml.AliasNode:
		d.refuse(node, path, "is an alias", "write the value itself")
	case node.ShortTag() == "!!null":
	case isText(v):
		d.scalar(node, v, path)
	case v.Kind() == reflect.Struct:
		d.mapping(node, v, path)
	case v.Kind() == reflect.Slice:
		d.list(node, v, path)
	default:
		d.scalar(node, v, path)
	}
}

// mapping reads node into the fields of v.
func (d *decoder) mapping(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		d.refuse(node, path, "is "+kindOf(node)+", not a group of fields", "write its fields below it, indented")
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		below := strings.TrimPrefix(path+"."+key.Value, ".")
		field, ok := fieldByName(v, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			d.refuse(key, path, "has a key that is not the name of a field", "write each field out")
		case !ok:
			d.refuse(key, below, "there is no such field", d.mendField(v, key.Value))
		case seen[key.Value]:
			d.refuse(key, below, "is given twice", "keep one of them")
		default:
			seen[key.Value] = true
			d.value(node.Content[i+1], field, below)
		}
	}
}

// list reads node into the slice v, which it replaces.
func (d *decoder) list(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		d.refuse(node, path, "is "+kindOf(node)+", not a list", "write each value in a line of its own, after a dash")
		return
	}
	d.lines[path] = node.Line
	list := reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content))
	for i, n := range node.Content {
		below := fmt.Sprintf("%s[%d]", path, i)
		if n.ShortTag() == "!!null" {
			d.refuse(n, below, "is empty", "remove it, or give it a value")
			continue
		}
		d.value(n, list.Index(i), below)
	}
	v.Set(list)
}

// scalar reads node into v. YAML would also read 6443.5 into an integer, and
// yes into a boolean, so the kind of value is looked at first.
func (d *decoder) scalar(node *yaml.Node, v reflect.Value, path string) {
	tag := node.ShortTag()
	var ok bool
	var mend string
	switch {
	case isText(v):
		ok = tag == "!!str"
		mend = fmt.Sprintf("write it like %v", v.Interface())
	case v.Kind() == reflect.String:
		ok, mend = tag == "!!str", "put it in quotes"
	case v.Kind() == reflect.Bool:
		ok, mend = tag == "!!bool", "write true or false"
	case v.CanInt():
		ok, mend = tag == "!!int", "write a whole number"
	case v.CanFloat():
		ok, mend = tag == "!!int" || tag == "!!float", "write a number"
	}
	d.lines[path] = node.Line
	if node.Kind != yaml.ScalarNode {
		ok, mend = false, "write a single value"
	}
	if !ok {
		d.refuse(node, path, "is "+kindOf(node), mend)
		return
	}
	if node.Decode(v.Addr().Interface()) != nil {
		d.refuse(node, path, fmt.Sprintf("%q cannot be read, or is too big", node.Value), mend)
	}
}

// isText reports whether v is written as a text of its own form, as a duration.
func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// FieldName returns the name of a field in a document.
func FieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// fieldByName returns the field of the structure v that has the given name in
// the file.
func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && FieldName(f) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// kindOf names the kind of a node's value.
func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a group of fields"
	case yaml.SequenceNode:
		return "a list"
	}
	switch node.ShortTag() {
	case "!!str":
		return "a string"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	case "!!null":
		return "empty"
	}
	return "of an unknown type"
}
