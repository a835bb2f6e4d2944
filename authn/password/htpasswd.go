package password

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/internal/passhash"
)

// mostKinds is how many kinds of hashes a file may have. Each is compared with
// for every password that is wrong.
const mostKinds = 4

// OpenHtpasswd reads a file of Apache's format: a user name, a colon and a hash
// in each line, as htpasswd -B and gatehouse password hash write it. Empty lines
// and those that begin with # are passed over. Groups, which may be nil, says
// which groups the users are in. Notify is as for [OpenCSV].
//
// A user name on two lines, and hashes of more than four kinds, make the file
// bad.
func OpenHtpasswd(path string, groups *Groups, notify func(error)) (*Source, error) {
	return open(path, groups, readHtpasswd, notify)
}

// readHtpasswd parses a file. Errors name the line, and never what is in it but
// the user name.
func readHtpasswd(data []byte) (*reading, error) {
	out := &reading{}
	at := map[string]int{}
	for n, text := range lines(data) {
		l, err := htpasswdLine(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if first := at[l.name]; first > 0 {
			return nil, fmt.Errorf("line %d: user %q is on line %d as well: remove one of the two", n, l.name, first)
		}
		at[l.name] = n
		l.where = fmt.Sprintf("line %d", n)
		out.lines = append(out.lines, l)
		if err := out.compareWith(l.work); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(out.decoys) > 1 {
		out.warnings = append(out.warnings, fmt.Sprintf(
			"the hashes are of %d kinds, and a wrong password is compared with one of each: make them alike", len(out.decoys)))
	}
	return out, nil
}

func htpasswdLine(text string) (line, error) {
	name, text, colon := strings.Cut(text, ":")
	if !colon {
		return line{}, errors.New("there is no colon after a user name")
	}
	if err := checkName("user name", name); err != nil {
		return line{}, err
	}
	h, err := passhash.Parse(text)
	if err != nil {
		return line{}, fmt.Errorf("the hash of user %q %w: make it with gatehouse password hash, or htpasswd -B -C 12", name, err)
	}
	return line{name: strings.Clone(name), hash: h, work: h.Work(), print: strings.Clone(text)}, nil
}

// compareWith notes that there are hashes that take this work.
func (out *reading) compareWith(w passhash.Work) error {
	for _, d := range out.decoys {
		if d.work == w {
			return nil
		}
	}
	if len(out.decoys) == mostKinds {
		return fmt.Errorf("%v is one kind of hash too many: a file may have %d", w, mostKinds)
	}
	out.decoys = append(out.decoys, decoy{w, w.Decoy()})
	return nil
}

// checkName refuses names that nobody can mean, and reserved ones.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty", what)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not UTF-8", what)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the %s has a control character", what)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the %s begins or ends with white space", what)
	case strings.HasPrefix(name, reserved):
		return fmt.Errorf("%q begins with %s, which no password may stand for: remove the line, or use another name", name, reserved)
	}
	return nil
}

// lines yields the lines of a file that say something, by their number.
func lines(data []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for text := range bytes.Lines(data) {
			n++
			text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
			if len(bytes.TrimSpace(text)) == 0 || text[0] == '#' {
				continue
			}
			if !yield(n, string(text)) {
				return
			}
		}
	}
}
