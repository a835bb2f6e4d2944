package verified

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// A digester computes keys under a random key of its own, of what was written
// into a scratch. It takes the scratch back.
type digester interface {
	scratch() *scratch
	sum(*scratch) Key
}

// newDigester returns a digester with a fresh random key. In FIPS 140 mode that
// is HMAC-SHA-256; else it is AES-GMAC, which takes a fifth of the time.
func newDigester() (digester, error) {
	if fips140.Enabled() {
		return newHMAC(), nil
	}
	return newGMAC()
}

// A Digester computes keys as a [Table] does, for what has a table of its own.
type Digester struct{ digest digester }

// NewDigester returns a digester with a random key of its own.
func NewDigester() (*Digester, error) {
	d, err := newDigester()
	return &Digester{d}, err
}

// Key is [Table.Key].
func (d *Digester) Key(kind, credential string, audiences []string) Key {
	s := d.digest.scratch()
	write(s, kind, credential, audiences)
	return d.digest.sum(s)
}

// scratch is what one computation needs, so that none of it is allocated.
type scratch struct {
	message []byte
	nonce   [12]byte
	out     [sha256.Size]byte
	mac     hash.Hash
}

// write puts into s.message what a credential is presented as, all that it is
// bound to, and the credential. Every part but the last is preceded by its
// length, and their number by itself, so that no two ways to split the same
// bytes are alike.
func write[T string | []byte](s *scratch, kind, credential string, parts []T) {
	m := binary.AppendUvarint(s.message[:0], uint64(len(kind)))
	m = append(m, kind...)
	m = binary.AppendUvarint(m, uint64(len(parts)))
	for _, p := range parts {
		m = binary.AppendUvarint(m, uint64(len(p)))
		m = append(m, p...)
	}
	s.message = append(m, credential...)
}

// wipe forgets the credential.
func (s *scratch) wipe() { clear(s.message) }

// A gmac is AES-GMAC (NIST SP 800-38D) with one fixed nonce, and one more
// encryption of the result under another key. GHASH alone is linear: with the
// tag as it is, the time that look-ups take might in the end tell the hash key
// to somebody who chooses the messages.
type gmac struct {
	aead  cipher.AEAD
	block cipher.Block
	pool  sync.Pool
}

func newGMAC() (*gmac, error) {
	var key [64]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	defer clear(key[:])
	inner, err := aes.NewCipher(key[:32])
	if err != nil {
		return nil, fmt.Errorf("making a digest key: %w", err)
	}
	outer, err := aes.NewCipher(key[32:])
	if err != nil {
		return nil, fmt.Errorf("making a digest key: %w", err)
	}
	aead, err := cipher.NewGCM(inner)
	if err != nil {
		return nil, fmt.Errorf("making a digest key: %w", err)
	}
	return &gmac{aead: aead, block: outer, pool: sync.Pool{New: func() any { return new(scratch) }}}, nil
}

func (g *gmac) scratch() *scratch { return g.pool.Get().(*scratch) }

func (g *gmac) sum(s *scratch) Key {
	tag := g.aead.Seal(s.out[:0], s.nonce[:], nil, s.message)
	g.block.Encrypt(tag, tag)
	k := Key(tag)
	s.wipe()
	g.pool.Put(s)
	return k
}

// An hmacDigest is HMAC-SHA-256, cut to 128 bits.
type hmacDigest struct{ pool sync.Pool }

func newHMAC() *hmacDigest {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &hmacDigest{sync.Pool{New: func() any { return &scratch{mac: hmac.New(sha256.New, key)} }}}
}

func (h *hmacDigest) scratch() *scratch { return h.pool.Get().(*scratch) }

func (h *hmacDigest) sum(s *scratch) Key {
	s.mac.Reset()
	s.mac.Write(s.message)
	k := Key(s.mac.Sum(s.out[:0])[:len(Key{})])
	s.wipe()
	h.pool.Put(s)
	return k
}
