package statictoken

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// TokenPrefix begins the tokens that [NewToken] makes, so that whoever finds one
// knows what it is.
const TokenPrefix = "gh_"

// NewToken returns a token of 256 random bits.
func NewToken() string {
	for {
		random := make([]byte, 32)
		rand.Read(random)
		token := TokenPrefix + base64.RawURLEncoding.EncodeToString(random)
		if CheckToken(token) == nil { // as good as always
			return token
		}
	}
}

// CheckToken refuses tokens that cannot be of 128 random bits or more, or do not
// look like that: behind a fast hash only randomness keeps a token from being
// found by trying.
func CheckToken(token string) error {
	body := strings.TrimRight(strings.TrimPrefix(token, TokenPrefix), "=")
	kinds := map[charKind]int{}
	for _, c := range []byte(body) {
		kinds[kindOf(c)]++
	}
	hexadecimal := strings.Trim(body, "0123456789abcdef") == "" || strings.Trim(body, "0123456789ABCDEF") == ""
	shortest, fewest, mixed := 22, 11, kinds[upper] > 0 && kinds[lower] > 0
	if hexadecimal {
		shortest, fewest, mixed = 32, 8, kinds[digit] > 0 && kinds[digit] < len(body)
	}
	switch {
	case kinds[foreign] > 0:
		return errors.New("the token is neither in hexadecimal nor in base64")
	case len(body) < shortest:
		return fmt.Errorf("the token has %d characters, which is less than 128 bits", len(body))
	case !mixed || distinct(body) < fewest || repeats(body) || alike(body) || !hexadecimal && wordy(body):
		return errors.New("the token does not look random")
	}
	return nil
}

type charKind int

const (
	foreign charKind = iota // not of base64
	upper
	lower
	digit
	mark
)

func kindOf(c byte) charKind {
	switch {
	case 'A' <= c && c <= 'Z':
		return upper
	case 'a' <= c && c <= 'z':
		return lower
	case '0' <= c && c <= '9':
		return digit
	case strings.IndexByte("+/-_", c) >= 0:
		return mark
	}
	return foreign
}

func distinct(text string) int {
	all := []byte(text)
	slices.Sort(all)
	return len(slices.Compact(all))
}

// repeats reports whether text is the same again and again.
func repeats(text string) bool {
	for period := 1; period <= len(text)/2; period++ {
		if text[period:] == text[:len(text)-period] {
			return true
		}
	}
	return false
}

// alike reports whether most characters are those before them, or next to them.
func alike(text string) bool {
	n := 0
	for i := 1; i < len(text); i++ {
		if step := int(text[i]) - int(text[i-1]); -1 <= step && step <= 1 {
			n++
		}
	}
	return n > len(text)/2
}

// wordy reports whether text changes its kind of characters as seldom as words
// do, and random base64 does not.
func wordy(text string) bool {
	same := 0
	for i := 1; i < len(text); i++ {
		if kindOf(text[i]) == kindOf(text[i-1]) {
			same++
		}
	}
	return same*4 > (len(text)-1)*3
}

// Of returns the line for a token, in the form that [OpenHashed] reads.
func (l Line) Of(token string) (string, error) {
	if err := CheckToken(token); err != nil {
		return "", err
	}
	if !isName(l.Name) {
		return "", errName
	}
	hash := sha256.Sum256([]byte(token))
	text := l.Name + " " + hashPrefix + hex.EncodeToString(hash[:])
	add := func(name, value string) {
		odd := func(r rune) bool {
			return strings.ContainsRune("\"#\\", r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
		}
		if value == "" || strings.ContainsFunc(value, odd) {
			value = strconv.Quote(value)
		}
		text += " " + name + "=" + value
	}
	add("user", l.User)
	if l.UID != "" {
		add("uid", l.UID)
	}
	for _, g := range l.Groups {
		add("group", g)
	}
	if !l.Expires.IsZero() {
		add("expires", l.Expires.UTC().Format(time.RFC3339))
	}
	// What would be refused there is refused here.
	if _, _, err := parseLine(text); err != nil {
		return "", err
	}
	return text, nil
}
