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

	"gatehouse.dev/gatehouse/internal/inplace"
)

// A digester computes keys under a random key of its own, of data and of the
// label in a scratch. It takes the scratch back, and keeps nothing of data.
type digester interface {
	scratch() *scratch
	sum(s *scratch, data []byte) Key
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
	return keyOf(d.digest, kind, credential, audiences)
}

// scratch is what one computation needs, so that none of it is allocated.
type scratch struct {
	// label says what the digested bytes are. In its first byte is 0 if they are
	// what frame has written, else one more than the length of a kind that follows,
	// and they are the credential itself.
	label [12]byte
	frame []byte
	out   [sha256.Size]byte
	mac   hash.Hash
}

// keyOf returns the key of a text. One that is for the server alone, as nearly
// all are, is digested where it lies: that takes less time than to copy it, and
// leaves no copy of a secret.
func keyOf(d digester, kind, credential string, audiences []string) Key {
	s := d.scratch()
	if len(audiences) > 0 || len(kind) >= len(s.label) {
		return sumFrame(d, s, kind, credential, audiences)
	}
	s.mark(kind)
	return d.sum(s, inplace.Bytes(credential))
}

// keyOfParts returns the key of several parts, of which one is digested where it
// lies, as a text is: a table has no keys of both.
func keyOfParts(d digester, kind string, parts [][]byte) Key {
	s := d.scratch()
	if len(parts) != 1 || len(kind) >= len(s.label) {
		return sumFrame(d, s, kind, "", parts)
	}
	s.mark(kind)
	return d.sum(s, parts[0])
}

// mark says that the digested bytes are a credential that is presented as kind.
func (s *scratch) mark(kind string) {
	s.label = [len(s.label)]byte{byte(1 + len(kind))}
	copy(s.label[1:], kind)
}

// wipe clears the frame, in which there may be a credential. Whoever gets the
// scratch next writes into the same memory.
func (s *scratch) wipe() {
	clear(s.frame)
	s.frame = s.frame[:0]
}

// sumFrame digests what a credential is presented as, all that it is bound to,
// and the credential. Every part but the last is preceded by its length, and
// their number by itself, so that no two ways to split the same bytes are alike.
func sumFrame[T string | []byte](d digester, s *scratch, kind, credential string, parts []T) Key {
	f := binary.AppendUvarint(s.frame[:0], uint64(len(kind)))
	f = append(f, kind...)
	f = binary.AppendUvarint(f, uint64(len(parts)))
	for _, p := range parts {
		f = binary.AppendUvarint(f, uint64(len(p)))
		f = append(f, p...)
	}
	s.frame, s.label = append(f, credential...), [len(s.label)]byte{}
	return d.sum(s, s.frame)
}

// keySize is that of AES-128. A digest has 128 bits as well, and neither outlives
// the process.
const keySize = 16

// A gmac is AES-GMAC (NIST SP 800-38D) with the label as its nonce, and one more
// encryption of the result under another key.
//
// A label is used for many messages, which GMAC must not be where its tags are
// seen. Here they never are, and what is asked of it is less: that no two
// different credentials have one key. The tag is GHASH of the message, masked
// with what AES makes of the label. For any two different messages, chosen without
// knowing the key of GHASH, the difference of their hashes is any one value with a
// chance of at most n/2^128, n being their length in blocks (of 16 KiB: 1,025):
// zero, which two of one label need to collide, or the difference of two masks,
// which two of different labels need. One message of two labels never collides, as
// AES is a permutation. So q credentials collide anywhere with a chance of at most
// q*q*n/2^129; 2^32 of them, with one below 2^-54.
//
// But GHASH is linear: with the tag as it is, the time that look-ups take might
// in the end tell its key to somebody who chooses the messages. After the second
// encryption, what decides where a key lies looks random to him.
type gmac struct {
	aead  cipher.AEAD
	block cipher.Block
	pool  sync.Pool
}

func newGMAC() (*gmac, error) {
	var key [2 * keySize]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	defer clear(key[:])
	inner, err := aes.NewCipher(key[:keySize])
	if err != nil {
		return nil, fmt.Errorf("making a digest key: %w", err)
	}
	outer, err := aes.NewCipher(key[keySize:])
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

func (g *gmac) sum(s *scratch, data []byte) Key {
	tag := g.aead.Seal(s.out[:0], s.label[:], nil, data)
	g.block.Encrypt(tag, tag)
	k := Key(tag)
	s.wipe()
	g.pool.Put(s)
	return k
}

// An hmacDigest is HMAC-SHA-256 of label and data, cut to 128 bits.
type hmacDigest struct{ pool sync.Pool }

func newHMAC() *hmacDigest {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &hmacDigest{sync.Pool{New: func() any { return &scratch{mac: hmac.New(sha256.New, key)} }}}
}

func (h *hmacDigest) scratch() *scratch { return h.pool.Get().(*scratch) }

func (h *hmacDigest) sum(s *scratch, data []byte) Key {
	s.mac.Reset()
	s.mac.Write(s.label[:])
	s.mac.Write(data)
	k := Key(s.mac.Sum(s.out[:0])[:len(Key{})])
	s.wipe()
	h.pool.Put(s)
	return k
}
