// Package passhash reads, compares and makes the hashes that stand for
// passwords: bcrypt in the form of htpasswd, and argon2id in the PHC form.
//
// The one idea: a [Hash] knows its [Work], so that whoever compares can bound it
// and can do the same work where there is no hash to compare with.
//
// It refuses every other form, naming those that are known, and hashes that are
// so cheap that guessing is, or so dear that comparing stops the server. It never
// repeats a hash in an error.
package passhash

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// The algorithms, as [New] takes them.
const (
	Argon2id = "argon2id"
	Bcrypt   = "bcrypt"
)

// Bounds on the work of one comparison. The lower ones are those of the OWASP
// Password Storage Cheat Sheet, the upper ones about a second of a processor.
const (
	minBcryptCost = 10
	maxBcryptCost = 14
	minMemory     = 7 << 10   // KiB, one pass over which is too little
	maxMemory     = 256 << 10 // KiB
	minPassed     = 35 << 10  // KiB, in all passes together
	maxPassed     = 1 << 20   // KiB
	maxThreads    = 16
)

// MaxBcrypt is the longest password, in bytes, that bcrypt tells from others
// that begin alike.
const MaxBcrypt = 72

// A Work is what it takes to compare a password with a hash. Two hashes with the
// same Work take the same time and memory.
type Work struct {
	Algorithm string
	// Cost is the logarithm of bcrypt's rounds.
	Cost int
	// Memory, in KiB, Passes and Threads are argon2id's m, t and p.
	Memory, Passes uint32
	Threads        uint8
}

// String names the work as an operator would write it.
func (w Work) String() string {
	if w.Algorithm == Bcrypt {
		return fmt.Sprintf("bcrypt of cost %d", w.Cost)
	}
	return fmt.Sprintf("argon2id of m=%d,t=%d,p=%d", w.Memory, w.Passes, w.Threads)
}

// Decoy returns a hash that takes this work and that no password has.
func (w Work) Decoy() *Hash {
	h := &Hash{work: w, decoy: true}
	if w.Algorithm == Bcrypt {
		h.text = fmt.Sprintf("$2b$%02d$%s", w.Cost, strings.Repeat(".", 53))
		return h
	}
	h.salt, h.sum = make([]byte, saltSize), make([]byte, sumSize)
	return h
}

// A Hash stands for a password.
type Hash struct {
	work      Work
	text      string // of bcrypt
	salt, sum []byte // of argon2id
	decoy     bool
}

// Work returns what it takes to compare a password with h.
func (h *Hash) Work() Work { return h.work }

// Matches reports whether h is the hash of password. How long it takes depends on
// [Hash.Work] alone. A password that bcrypt would cut short matches nothing.
func (h *Hash) Matches(password string) bool {
	if h.work.Algorithm == Bcrypt {
		whole := len(password) <= MaxBcrypt
		err := bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password[:min(len(password), MaxBcrypt)]))
		return err == nil && whole && !h.decoy
	}
	w := h.work
	sum := argon2.IDKey([]byte(password), h.salt, w.Passes, w.Memory, w.Threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1 && !h.decoy
}

// Parse reads a hash: $2a$, $2b$ or $2y$ of bcrypt, or $argon2id$ in the PHC
// form.
func Parse(text string) (*Hash, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2id(strings.TrimPrefix(text, "$argon2id$"))
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	}
	return nil, fmt.Errorf("%s, and only bcrypt and argon2id are accepted", form(text))
}

// form names the form of a hash that is not accepted.
func form(text string) string {
	for _, known := range []struct{ prefix, name string }{
		{"$2", "a faulty variant of bcrypt"}, // $2$ and $2x$
		{"$argon2", "another argon2 than argon2id"},
		{"$apr1$", "Apache's MD5"}, {"$1$", "MD5 crypt"}, {"$5$", "SHA-256 crypt"}, {"$6$", "SHA-512 crypt"},
		{"$y$", "yescrypt"}, {"$7$", "scrypt"}, {"$scrypt$", "scrypt"}, {"$pbkdf2", "PBKDF2"},
		{"{SHA}", "unsalted SHA-1"}, {"{SSHA}", "SHA-1"},
	} {
		if strings.HasPrefix(text, known.prefix) {
			return "is " + known.name
		}
	}
	return "is no hash that is known: it may be a password in plain text, or crypt"
}

// parseBcrypt reads $2y$10$ and 53 characters of bcrypt's base64.
func parseBcrypt(text string) (*Hash, error) {
	const size = len("$2y$10$") + 22 + 31
	if len(text) != size || text[6] != '$' || !isDigit(text[4]) || !isDigit(text[5]) {
		return nil, errors.New("is no whole bcrypt hash: it may have been cut")
	}
	for _, c := range []byte(text[7:]) {
		if c != '.' && c != '/' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return nil, errors.New("is no bcrypt hash: it has a character that base64 does not")
		}
	}
	cost := int(text[4]-'0')*10 + int(text[5]-'0')
	if cost < minBcryptCost || cost > maxBcryptCost {
		return nil, fmt.Errorf("is bcrypt of cost %d, and only %d to %d are accepted", cost, minBcryptCost, maxBcryptCost)
	}
	return &Hash{work: Work{Algorithm: Bcrypt, Cost: cost}, text: text}, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// parseArgon2id reads v=19$m=65536,t=3,p=4$SALT$SUM, with both in base64 without
// padding.
func parseArgon2id(text string) (*Hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 4 {
		return nil, errors.New("is no whole argon2id hash: it may have been cut")
	}
	if parts[0] != "v=19" {
		return nil, errors.New("is argon2id of another version than v=19")
	}
	h := &Hash{work: Work{Algorithm: Argon2id}}
	if err := h.work.parse(parts[1]); err != nil {
		return nil, err
	}
	var err error
	if h.salt, err = decode(parts[2], 8); err != nil {
		return nil, fmt.Errorf("has a salt that %w", err)
	}
	if h.sum, err = decode(parts[3], 16); err != nil {
		return nil, fmt.Errorf("has a sum that %w", err)
	}
	return h, nil
}

// parse reads m=65536,t=3,p=4.
func (w *Work) parse(text string) error {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return errors.New("is argon2id without m, t and p alone")
	}
	var values [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		number, ok := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || number != strconv.FormatUint(n, 10) {
			return errors.New("is argon2id without numbers m, t and p in this order")
		}
		values[i] = uint32(n)
	}
	memory, passes, threads := values[0], values[1], values[2]
	passed := uint64(memory) * uint64(passes)
	switch {
	case threads < 1 || threads > maxThreads:
		return fmt.Errorf("is argon2id of p=%d, and only 1 to %d are accepted", threads, maxThreads)
	case memory < minMemory || passed < minPassed:
		return fmt.Errorf("is argon2id of m=%d,t=%d, which is too cheap to guess: m is at least %d, and m times t %d", memory, passes, minMemory, minPassed)
	case memory > maxMemory || passed > maxPassed:
		return fmt.Errorf("is argon2id of m=%d,t=%d, which would hold up the server: m is at most %d, and m times t %d", memory, passes, maxMemory, maxPassed)
	}
	w.Memory, w.Passes, w.Threads = memory, passes, uint8(threads)
	return nil
}

// decode reads base64 of shortest to 64 bytes.
func decode(text string, shortest int) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("is no base64 without padding")
	}
	data, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("is no base64 without padding")
	}
	if len(data) < shortest || len(data) > 64 {
		return nil, fmt.Errorf("has %d bytes, and %d to 64 are accepted", len(data), shortest)
	}
	return data, nil
}

// What [New] makes: RFC 9106 section 4 with one lane for each login, so that
// logins share the processors, and OWASP's choice of memory.
const (
	newMemory     = 19 << 10
	newPasses     = 2
	newThreads    = 1
	newBcryptCost = 11
	saltSize      = 16
	sumSize       = 32
)

// New returns the hash of a password under a fresh salt.
func New(algorithm, password string) (string, error) {
	switch algorithm {
	case Argon2id:
		salt := make([]byte, saltSize)
		rand.Read(salt)
		sum := argon2.IDKey([]byte(password), salt, newPasses, newMemory, newThreads, sumSize)
		b64 := base64.RawStdEncoding.EncodeToString
		return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", newMemory, newPasses, newThreads, b64(salt), b64(sum)), nil
	case Bcrypt:
		if len(password) > MaxBcrypt {
			return "", fmt.Errorf("the password has %d bytes, and bcrypt only looks at %d: use %s", len(password), MaxBcrypt, Argon2id)
		}
		hash, err := bcrypt.GenerateFromPassword([]byte(password), newBcryptCost)
		if err != nil {
			return "", fmt.Errorf("hashing the password: %w", err)
		}
		// htpasswd writes $2y$ for the same.
		return "$2y$" + strings.TrimPrefix(string(hash), "$2a$"), nil
	}
	return "", fmt.Errorf("there is no algorithm %q: choose %s or %s", algorithm, Argon2id, Bcrypt)
}
