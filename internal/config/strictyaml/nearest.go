package strictyaml

import (
	"reflect"
	"strings"
)

// mendField says what may have been meant by a name that is no field of v.
func (d *decoder) mendField(v reflect.Value, name string) string {
	var names []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			names = append(names, FieldName(f))
		}
	}
	if near := Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	if d.suggest != nil {
		if mend := d.suggest(name); mend != "" {
			return mend
		}
	}
	return "remove it; the fields here are " + strings.Join(names, ", ")
}

// Nearest returns which of names was probably meant, or "". Up to three letters
// may be wrong in a long name, and fewer in a short one: with more, a guess
// misleads.
func Nearest(name string, names []string) string {
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
