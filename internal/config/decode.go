package config

import (
	"errors"
	"fmt"
	"strings"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

// maxFileSize is the biggest configuration file, in bytes. One with every field
// and its comment has about 15 KiB.
const maxFileSize = 1 << 20

// standardOutput is the path that means no file.
const standardOutput = "-"

// decode reads data, which is a file of the given name, over c. The name serves
// only to say where a problem is.
func (c *Configuration) decode(name string, data []byte) error {
	if len(data) > maxFileSize {
		return &Problem{Where: name, What: "is bigger than 1 MiB", Mend: "name a configuration file"}
	}
	format := strictyaml.Format{
		Head:    [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}},
		Suggest: suggestField,
	}
	lines, problems := format.Decode(data, c)
	var all []error
	for _, p := range problems {
		where := name
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", name, p.Line)
		}
		if p.Path != "" {
			where += ": " + p.Path
		}
		all = append(all, &Problem{Where: where, What: p.What, Mend: p.Mend})
	}
	for path, line := range lines {
		c.where[path] = fmt.Sprintf("%s:%d", name, line)
	}
	return errors.Join(all...)
}

// suggestField says what may have been meant by a name that is no field of its
// group: a flag, or a field of another group.
func suggestField(name string) string {
	for _, s := range Default().settings() {
		if s.flag != "" && s.flag == strings.TrimLeft(name, "-") {
			return "did you mean " + s.path + "?"
		}
	}
	if s, ok := settingByField(name); ok {
		return "did you mean " + s.path + "?"
	}
	return ""
}
