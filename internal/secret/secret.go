// Package secret has a word for bytes that must not be seen: passwords, tokens,
// private keys.
//
// Printing, logging or encoding a [Bytes] gives a placeholder, wherever it
// stands: package fmt also prints the unexported fields of a struct that holds
// one, and there it asks no method. The one way in is [Bytes.Reveal], so that a
// search for that name finds every place that sees a secret.
//
// The package refuses to compare secrets in a time that tells how much of them
// is right, and to let a secret that nobody set be equal to anything.
package secret

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Placeholder is what is printed instead of a secret, be it empty or not.
const Placeholder = "[secret]"

// Bytes are secret. The zero value is empty.
type Bytes struct {
	// A field of function type makes == a compile error: it would stop at the
	// first byte that differs. And since fmt follows slices, maps and pointers
	// but not functions, the bytes are out of its reach inside one.
	lend func() []byte
}

// New returns a copy of b as a secret. The caller may wipe b.
func New(b []byte) Bytes {
	if len(b) == 0 {
		return Bytes{}
	}
	kept := bytes.Clone(b)
	return Bytes{lend: func() []byte { return kept }}
}

// Reveal returns the bytes, nil if there are none. The caller must not change
// them, nor let them get to where they can be seen.
func (b Bytes) Reveal() []byte {
	if b.lend == nil {
		return nil
	}
	return b.lend()
}

// Empty reports whether there are no bytes.
func (b Bytes) Empty() bool { return b.lend == nil }

// Equal reports whether b and other are the same, in a time that depends only
// on their lengths. An empty secret is equal to none, not even to another empty
// one: a password that nobody set must not be what opens a door.
func (b Bytes) Equal(other Bytes) bool {
	return !b.Empty() && subtle.ConstantTimeCompare(b.Reveal(), other.Reveal()) == 1
}

// Format implements [fmt.Formatter], with the placeholder for every verb.
func (b Bytes) Format(state fmt.State, _ rune) { io.WriteString(state, Placeholder) }

// LogValue implements [slog.LogValuer].
func (b Bytes) LogValue() slog.Value { return slog.StringValue(Placeholder) }

// MarshalText implements [encoding.TextMarshaler], for JSON, YAML and XML. It
// gives the placeholder, not an error: whoever dumps a configuration is to see
// that there is a secret.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }
