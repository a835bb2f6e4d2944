package config

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

// maxFileSize is the biggest configuration file, in bytes. One with every field
// and its comment has about 20 KiB.
const maxFileSize = 1 << 20

// standardOutput is the path that means no file.
const standardOutput = "-"

// decode reads data, which is a file of the given name, over c. It is stricter
// than YAML: see the comment of the package. The name serves only to say where
// a problem is.
func (c *Configuration) decode(name string, data []byte) error {
	if len(data) > maxFileSize {
		return &Problem{Where: name, What: "is bigger than 1 MiB", Mend: "name a configuration file"}
	}
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := reader.Decode(&document); errors.Is(err, io.EOF) {
		return &Problem{Where: name, What: "is empty", Mend: "begin it with apiVersion: " + APIVersion + " and kind: " + Kind}
	} else if err != nil {
		return notYAML(name, err)
	}
	var second yaml.Node
	if err := reader.Decode(&second); err == nil {
		return &Problem{
			Where: fmt.Sprintf("%s:%d", name, second.Line),
			What:  "begins a second document", Mend: "keep one configuration in a file",
		}
	} else if !errors.Is(err, io.EOF) {
		return notYAML(name, err)
	}

	d := &decoder{name: name, where: c.where}
	root := document.Content[0]
	if d.head(root) {
		d.value(root, reflect.ValueOf(c).Elem(), "")
	}
	return errors.Join(d.problems...)
}

func notYAML(name string, err error) *Problem {
	return &Problem{
		Where: name,
		What:  "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "),
		Mend:  "correct it; gatehouse config view --defaults prints an example",
	}
}

// A decoder reads one document into a configuration and collects what is wrong
// with it.
type decoder struct {
	name     string
	where    map[string]string // the line of each setting, by its path
	problems []error
}

// refuse adds a problem at node. A path of "" is that of the whole file.
func (d *decoder) refuse(node *yaml.Node, path, what, mend string) {
	where := fmt.Sprintf("%s:%d", d.name, node.Line)
	if path != "" {
		where += ": " + path
	}
	d.problems = append(d.problems, &Problem{Where: where, What: what, Mend: mend})
}

// head reports whether the document says that it is a configuration. If not,
// nothing that is said about its fields would help.
func (d *decoder) head(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		d.refuse(root, "", "is "+kindOf(root)+", not a configuration", "begin it with apiVersion: "+APIVersion)
		return false
	}
	got := map[string]string{"apiVersion": "", "kind": ""}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if key := root.Content[i].Value; key == "apiVersion" || key == "kind" {
			got[key] = root.Content[i+1].Value
		}
	}
	for _, want := range []struct{ key, value string }{{"apiVersion", APIVersion}, {"kind", Kind}} {
		switch got[want.key] {
		case want.value:
		case "":
			d.refuse(root, want.key, "is missing", "write "+want.key+": "+want.value)
		default:
			d.refuse(root, want.key, fmt.Sprintf("%q is not known", got[want.key]), "write "+want.key+": "+want.value)
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
	case v.Kind() == reflect.Struct:
		d.mapping(node, v, path)
	case v.Kind() == reflect.Slice && !isText(v):
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
			d.refuse(key, below, "there is no such field", mendField(v, key.Value))
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
	d.where[path] = fmt.Sprintf("%s:%d", d.name, node.Line)
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
		mend = `write an address such as "0.0.0.0"`
		if v.Type() == reflect.TypeFor[Duration]() {
			mend = `write a duration such as "1m30s"`
		}
	case v.Kind() == reflect.String:
		ok, mend = tag == "!!str", "put it in quotes"
	case v.Kind() == reflect.Bool:
		ok, mend = tag == "!!bool", "write true or false"
	case v.CanInt():
		ok, mend = tag == "!!int", "write a whole number"
	case v.CanFloat():
		ok, mend = tag == "!!int" || tag == "!!float", "write a number"
	}
	d.where[path] = fmt.Sprintf("%s:%d", d.name, node.Line)
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

// fieldByName returns the field of the structure v that has the given name in
// the file.
func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && fieldName(f) == name {
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
