package config

import "errors"

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Where is the file, line and field, or the flag, or where neither was
	// given the field with its flag in parentheses.
	Where string
	// What is wrong there.
	What string
	// Mend is what to do about it, as an imperative.
	Mend string
}

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
