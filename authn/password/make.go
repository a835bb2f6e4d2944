package password

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/internal/passhash"
)

// shortest is how many characters a new password has at least (NIST SP 800-63B
// section 5.1.1). That of a line that is there already cannot be told.
const shortest = 8

// Algorithms are those that [Line] knows, the one to choose first.
func Algorithms() []string { return []string{passhash.Argon2id, passhash.Bcrypt} }

// Line returns the line of an htpasswd file for a user and a password. It refuses
// what [Authenticator] would not read, and passwords that are short.
func Line(user, password, algorithm string) (string, error) {
	if err := checkName("user name", user); err != nil {
		return "", err
	}
	switch n := utf8.RuneCountInString(password); {
	case strings.Contains(user, ":"):
		return "", errors.New("the user name has a colon, which ends it when it is sent")
	case strings.HasPrefix(user, "#"):
		return "", errors.New("the user name begins with #, which begins a comment in the file")
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return "", errors.New("the password has a control character, or is not UTF-8")
	case len(user)+1+len(password) > maxPair:
		return "", errors.New("the user name and password are longer than 1 KiB")
	case n < shortest:
		return "", fmt.Errorf("the password has %d characters: take %d or more", n, shortest)
	}
	hash, err := passhash.New(algorithm, password)
	if err != nil {
		return "", err
	}
	return user + ":" + hash, nil
}
