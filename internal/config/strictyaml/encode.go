package strictyaml

import (
	"bytes"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Encode returns the structure that v points to as YAML that [Format.Decode]
// reads as the same. A field is preceded by what comment returns for its path
// and type, which may be "" and have several lines.
func Encode(v any, comment func(path string, t reflect.Type) string) ([]byte, error) {
	root, err := encoder{comment}.node(reflect.ValueOf(v).Elem(), "")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, err
	}
	return airy(out.Bytes()), nil
}

type encoder struct {
	comment func(path string, t reflect.Type) string
}

func (e encoder) node(v reflect.Value, path string) (*yaml.Node, error) {
	switch {
	case isText(v):
	case v.Kind() == reflect.Struct:
		return e.mapping(v, path)
	case v.Kind() == reflect.Slice:
		return e.list(v, path)
	}
	n := new(yaml.Node)
	err := n.Encode(v.Interface())
	if strings.ContainsAny(n.Value, "\r\n") {
		// In one line, so that a line that looks like a comment is one.
		n.Style = yaml.DoubleQuotedStyle
	}
	return n, err
}

func (e encoder) list(v reflect.Value, path string) (*yaml.Node, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if v.Len() == 0 {
		list.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		n, err := e.node(v.Index(i), path+"[]")
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, n)
	}
	return list, nil
}

func (e encoder) mapping(v reflect.Value, path string) (*yaml.Node, error) {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		below := strings.TrimPrefix(path+"."+FieldName(field), ".")
		value, err := e.node(v.Field(i), below)
		if err != nil {
			return nil, err
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: FieldName(field), HeadComment: e.comment(below, field.Type)}
		m.Content = append(m.Content, key, value)
	}
	return m, nil
}

// airy puts an empty line before each comment that does not begin a group.
func airy(text []byte) []byte {
	var out bytes.Buffer
	before := []byte(":") // as if a group began
	for line := range bytes.Lines(text) {
		now := bytes.TrimSpace(line)
		comment, after := bytes.HasPrefix(now, []byte("#")), bytes.HasPrefix(before, []byte("#"))
		if comment && !after && !bytes.HasSuffix(before, []byte(":")) {
			out.WriteByte('\n')
		}
		out.Write(line)
		before = now
	}
	return out.Bytes()
}
