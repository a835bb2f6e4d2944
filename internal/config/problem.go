package config

import (
	"errors"
	"strings"
)

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Where is the file, line and field, or the flag, or where neither was
	// given the field with its flag in parentheses.
	Where string
	// What is wrong there.
	What string
	// Mend is what to do about it, as an imperative.
	Mend string

	cause error
	field any // of the setting, or nil
}

// Unwrap returns the error that the problem was made of, or nil.
func (p *Problem) Unwrap() error { return p.cause }

// Error returns all of the problem in one line.
func (p *Problem) Error() string { return p.Where + ": " + p.What + "; " + p.Mend }

// Problems returns every [Problem] in err, in order, however err joins and
// wraps them.
func Problems(err error) []*Problem {
	if p, ok := err.(*Problem); ok {
		return []*Problem{p}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Problem
		for _, e := range joined.Unwrap() {
			all = append(all, Problems(e)...)
		}
		return all
	}
	if inner := errors.Unwrap(err); inner != nil {
		return Problems(inner)
	}
	return nil
}

// Wrong returns err as a [Problem] with the setting whose field is at the given
// address in c, or nil if err is nil. It is for what only who uses a setting can
// find, such as what is wrong with the content of a file.
func (c *Configuration) Wrong(field any, err error, mend string) error {
	if err == nil {
		return nil
	}
	for _, s := range c.settings() {
		if s.field() == field {
			// What is said must fit into one line, as a flag's name does.
			what := strings.Join(strings.Fields(err.Error()), " ")
			return &Problem{Where: c.locate(s), What: what, Mend: mend, cause: err}
		}
	}
	panic("internal error: a problem with what is no setting: " + err.Error())
}
