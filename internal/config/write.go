package config

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
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
		if s.value.Kind() == reflect.Slice && s.value.IsNil() && s.value.Type() != reflect.TypeFor[net.IP]() {
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
	texts := comments()
	settings := make(map[string]Setting)
	for _, section := range Reference() {
		for _, s := range section.Settings {
			settings[s.Path] = s
		}
	}
	data, err := strictyaml.Encode(c.listed(), func(path string, t reflect.Type) string {
		width := 78 - 2*strings.Count(path, ".") // without the sign of a comment
		s, ok := settings[path]
		if !ok {
			return wrap(texts[t.Name()], width)
		}
		last := "Default: " + s.Default + "."
		if s.Flag != "" {
			last = "Flag: " + s.Flag + ". " + last
		}
		return wrap(s.Text, width) + "\n" + last
	})
	if err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	_, err = w.Write(data)
	return err
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
