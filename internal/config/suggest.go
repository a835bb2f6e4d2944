package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// mendField says what may have been meant by a name that is no field of v: a
// flag, a field misspelt, or one of another group.
func mendField(v reflect.Value, name string) string {
	for _, s := range Default().settings() {
		if s.flag != "" && s.flag == strings.TrimLeft(name, "-") {
			return "did you mean " + s.path + "?"
		}
	}
	var names []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			names = append(names, fieldName(f))
		}
	}
	if near := nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	if s, ok := settingByField(name); ok {
		return "did you mean " + s.path + "?"
	}
	return "remove it; the fields here are " + strings.Join(names, ", ")
}

// ExplainFlag returns err, which is of parsing set, as a [Problem] with a mend.
func ExplainFlag(set *pflag.FlagSet, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			flag := invalid.GetFlag()
			return &Problem{
				Where: "--" + flag.Name, What: fmt.Sprintf("%q is not of type %s", invalid.GetValue(), flag.Value.Type()),
				Mend: "see --help for the values of each flag",
			}
		}
		return &Problem{Where: "command line", What: err.Error(), Mend: "see --help for the values of each flag"}
	}
	name := unknown.GetSpecifiedName()
	var names []string
	set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	mend := "remove it; --help lists every flag, and flags of kube-apiserver without an effect here are not accepted"
	if near := nearest(name, names); near != "" {
		mend = fmt.Sprintf("did you mean --%s?", near)
	} else if s, ok := settingByField(name); ok {
		mend = fmt.Sprintf("did you mean %s?", s.dashed())
	}
	return &Problem{Where: "--" + name, What: "there is no such flag", Mend: mend}
}

// settingByField returns the setting with a flag whose field has the given name.
func settingByField(name string) (setting, bool) {
	for _, s := range Default().settings() {
		if s.flag != "" && (s.path == name || strings.HasSuffix(s.path, "."+name)) {
			return s, true
		}
	}
	return setting{}, false
}

// nearest returns which of names was probably meant, or "". Up to three letters
// may be wrong in a long name, and fewer in a short one: with more, a guess
// misleads.
func nearest(name string, names []string) string {
	best, least := "", min(3, len(name)/5+1)
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n), least); d < least || d == least && best == "" {
			best, least = n, d
		}
	}
	return best
}

// distance is how many bytes must be inserted, removed or replaced to turn a
// into b (Levenshtein), or any number over limit if it is more than limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
