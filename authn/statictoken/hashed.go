package statictoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// OpenHashed reads a file of hashed tokens. It has a token in each line:
//
//	NAME sha256:HASH user=USER [uid=UID] [group=GROUP]... [expires=TIME] [# comment]
//
// A value with white space or a # stands in double quotes, as Go writes them.
// TIME is of RFC 3339. HASH is of a token of at least 128 random bits, such as
// [NewToken] makes; a shorter one could be found by trying. Empty lines and those
// that begin with # are passed over.
//
// A name or hash on two lines makes the file bad. The name is that of the
// credential in audit events.
func OpenHashed(c Config) (*Verifier, error) {
	return open(c, &Verifier{unknown: errUnhashed}, (*Verifier).readHashed)
}

// A digest is the hash of a token, and finds it. That is no secret and needs no
// key: nobody can make a token for a hash.
type digest = [sha256.Size]byte

// readHashed parses a file. Errors name the line, and never repeat what may be a
// token.
func (v *Verifier) readHashed(data []byte) (*contents, error) {
	c := newContents()
	c.tokens = map[digest]*authn.Result{}
	now := time.Now()
	named := map[string]int{}
	hashes := map[digest]int{}
	n := 0
	for text := range bytes.Lines(data) {
		n++
		l, hash, err := parseLine(string(text))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if l.Name == "" {
			continue
		}
		for _, first := range []int{named[l.Name], hashes[hash]} {
			if first > 0 {
				return nil, fmt.Errorf("line %d: the name or hash of token %q is on line %d as well: remove one of the two", n, l.Name, first)
			}
		}
		named[l.Name], hashes[hash] = n, n
		c.tokens[hash] = v.result(c, l)
		if !l.Expires.IsZero() && !now.Before(l.Expires) {
			c.warnings = append(c.warnings, fmt.Sprintf("line %d: token %q has expired, its line can be removed", n, l.Name))
		}
	}
	return c, nil
}

func (v *Verifier) result(c *contents, l Line) *authn.Result {
	return &authn.Result{
		Identity: &identity.Identity{
			Name: l.User, UID: l.UID, Groups: identity.WithAuthenticated(l.User, l.Groups),
			Credential: identity.Credential{Method: identity.StaticToken, ID: "NAME=" + l.Name, ExpiresAt: l.Expires},
		},
		Audiences: v.audiences,
		Until:     l.Expires,
		Rests:     c.rests,
	}
}

// expired refuses a token whose time is over.
func expired(res *authn.Result, now time.Time) error {
	credential := res.Identity.Credential
	name := strings.TrimPrefix(credential.ID, "NAME=")
	check := authn.TimeCheck("expires", credential.ExpiresAt, now, true, 0)
	check.OK = false // at the very end, too
	return &authn.Refusal{
		Method: identity.StaticToken,
		Reason: fmt.Sprintf("token %q of %q expired at %s", name, res.Identity.Name, credential.ExpiresAt.UTC().Format(time.RFC3339)),
		Facts: authn.Facts{
			Kind:   authn.Expired,
			Checks: []authn.Check{check},
			Mend:   "make another token with gatehouse token new, and replace the line of this one",
		},
	}
}

// A Line says whose a hashed token is. Its zero value is a line that says
// nothing.
type Line struct {
	Name, User, UID string
	Groups          []string
	// Expires is zero if the token does not.
	Expires time.Time
}

var errName = errors.New("the name of the token is not of letters, digits and ._- alone, beginning with a letter or digit, or is longer than 253")

const hashPrefix = "sha256:"

// parseLine reads a line.
func parseLine(text string) (l Line, hash [sha256.Size]byte, err error) {
	fields, err := split(text)
	if err != nil || len(fields) == 0 {
		return l, hash, err
	}
	if l.Name = fields[0]; !isName(l.Name) {
		return l, hash, errName
	}
	if len(fields) < 2 || !isHash(fields[1], &hash) {
		return l, hash, errors.New("after the name there is no " + hashPrefix + " with 64 digits in lower-case hexadecimal: make the line with gatehouse token hash")
	}
	seen := map[string]bool{}
	for _, field := range fields[2:] {
		name, value, _ := strings.Cut(field, "=")
		if err := l.set(name, value, seen[name]); err != nil {
			return l, hash, err
		}
		seen[name] = true
	}
	if l.User == "" {
		return l, hash, errors.New("there is no user=: write who the token belongs to")
	}
	return l, hash, nil
}

func isHash(text string, hash *[sha256.Size]byte) bool {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(hash)) || strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.Decode(hash[:], []byte(digits))
	return err == nil
}

// set reads one attribute.
func (l *Line) set(name, value string, again bool) error {
	switch name {
	case "user", "uid", "group", "expires":
	default:
		return errors.New("there is something else than user=, uid=, group=, expires= or a comment that begins with #")
	}
	switch {
	case again && name != "group":
		return fmt.Errorf("%s= is there twice: remove one of the two", name)
	case value == "":
		return fmt.Errorf("%s= has no value: give it one, or remove it", name)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("the value of %s= is not UTF-8, or has a control character", name)
	}
	switch name {
	case "user":
		l.User = value
	case "uid":
		l.UID = value
	case "group":
		l.Groups = append(l.Groups, value)
	case "expires":
		at, err := time.Parse(time.RFC3339, value)
		if err != nil || at.Year() < 1970 {
			return errors.New("the value of expires= is no time such as 2030-12-31T23:59:59Z")
		}
		l.Expires = at.UTC()
	}
	return nil
}

// isName tells what may name a token.
func isName(name string) bool {
	for i, c := range []byte(name) {
		alphanumeric := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= 253
}

// split returns the fields of a line, without quotes and up to a comment.
func split(text string) ([]string, error) {
	var fields []string
	text = strings.TrimRight(text, " \t\r\n")
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" || text[0] == '#' {
			return fields, nil
		}
		field, rest, err := cutField(text)
		if err != nil {
			return nil, err
		}
		fields, text = append(fields, field), rest
	}
}

// cutField returns the first field of a text that begins with one.
func cutField(text string) (field, rest string, err error) {
	end := strings.IndexAny(text, " \t\"#")
	switch {
	case end < 0:
		return text, "", nil
	case text[end] == '#':
		return "", "", errors.New("there is a # within a value: put the value in quotes, or white space before a comment")
	case text[end] != '"':
		return text[:end], text[end:], nil
	case end == 0 || strings.IndexByte(text, '=') != end-1:
		return "", "", errors.New("there is a quote that does not begin a value")
	}
	quoted, err := strconv.QuotedPrefix(text[end:])
	if err != nil {
		return "", "", errors.New("there is a quote that does not end, or a wrong escape within it")
	}
	value, err := strconv.Unquote(quoted)
	if err != nil {
		return "", "", errors.New("there is a wrong escape within a quote")
	}
	rest = text[end+len(quoted):]
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		return "", "", errors.New("there is no white space behind a value in quotes")
	}
	return text[:end] + value, rest, nil
}
