package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WriteJSON writes c in the form of a file, without comments. JSON is YAML, so
// it can be read back.
func (c *Configuration) WriteJSON(w io.Writer) error {
	listed := c.listed()
	data, err := json.MarshalIndent(listed, "", "  ")
	if err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// listed returns c as it may be printed: [Configuration.Validate] refuses a
// password in the URL of an etcd server, but who prints c need not have asked.
func (c *Configuration) listed() *Configuration {
	listed := *c
	for _, s := range listed.settings() {
		if s.value.Kind() == reflect.Slice && s.value.IsNil() && !isText(s.value) {
			s.value.Set(reflect.MakeSlice(s.value.Type(), 0, 0)) // [], not null
		}
	}
	servers := slices.Clone(listed.Storage.Etcd.Servers)
	for i, server := range servers {
		if at := strings.LastIndex(server, "@"); at >= 0 {
			servers[i] = "REDACTED" + server[at:]
		}
	}
	listed.Storage.Etcd.Servers = servers
	return &listed
}

// WriteYAML writes c in the form of a file, in which every field has its
// meaning, flag and default as a comment. It can be read back.
func (c *Configuration) WriteYAML(w io.Writer) error {
	l := lister{texts: comments(), settings: make(map[string]Setting)}
	for _, section := range Reference() {
		for _, s := range section.Settings {
			l.settings[s.Path] = s
		}
	}
	root, err := l.node(reflect.ValueOf(c.listed()).Elem(), "")
	if err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	_, err = io.WriteString(w, airy(out.String()))
	return err
}

// A lister turns a configuration into YAML with comments.
type lister struct {
	texts    map[string]string  // by type and field, as comments returns them
	settings map[string]Setting // by path
}

func (l lister) node(v reflect.Value, path string) (*yaml.Node, error) {
	switch {
	case v.Kind() == reflect.Struct:
		return l.mapping(v, path)
	case v.Type() == reflect.TypeFor[[]NamedCertificate]():
		list := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Len() == 0 {
			list.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n, err := l.mapping(v.Index(i), path+"[]")
			if err != nil {
				return nil, err
			}
			list.Content = append(list.Content, n)
		}
		return list, nil
	}
	n := new(yaml.Node)
	err := n.Encode(v.Interface())
	oneLineStyle(n)
	return n, err
}

func (l lister) mapping(v reflect.Value, path string) (*yaml.Node, error) {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		below := strings.TrimPrefix(path+"."+fieldName(field), ".")
		value, err := l.node(v.Field(i), below)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", below, err)
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: fieldName(field)}
		key.HeadComment = l.comment(below, field.Type)
		m.Content = append(m.Content, key, value)
	}
	return m, nil
}

// comment returns the comment for the field of type t at path, or "".
func (l lister) comment(path string, t reflect.Type) string {
	width := 78 - 2*strings.Count(path, ".") // without the sign of a comment
	s, ok := l.settings[path]
	if !ok {
		return wrap(l.texts[t.Name()], width)
	}
	last := "Default: " + s.Default + "."
	if s.Flag != "" {
		last = "Flag: " + s.Flag + ". " + last
	}
	return wrap(s.Text, width) + "\n" + last
}

// oneLineStyle makes sure that no string is written in more than one line, so
// that a line that looks like a comment is one.
func oneLineStyle(n *yaml.Node) {
	if strings.ContainsAny(n.Value, "\r\n") {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, below := range n.Content {
		oneLineStyle(below)
	}
}

// wrap breaks text into lines of up to width bytes, if its words allow it.
func wrap(text string, width int) string {
	var out strings.Builder
	length := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case length+1+len(word) > width:
			out.WriteByte('\n')
			length = 0
		default:
			out.WriteByte(' ')
			length++
		}
		out.WriteString(word)
		length += len(word)
	}
	return out.String()
}

// airy puts an empty line before each comment that does not begin a group.
func airy(text string) string {
	var out strings.Builder
	before := ":" // as if a group began
	for line := range strings.Lines(text) {
		now := strings.TrimSpace(line)
		comment, after := strings.HasPrefix(now, "#"), strings.HasPrefix(before, "#")
		if comment && !after && !strings.HasSuffix(before, ":") {
			out.WriteByte('\n')
		}
		out.WriteString(line)
		before = now
	}
	return out.String()
}
