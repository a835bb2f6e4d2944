package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// sealSize keeps the size of the file what etcd expects: a multiple of 512
// bytes and a hash.
const sealSize = 512

// sealMark is what the block of a seal begins with.
const sealMark = "gatehouse snapshot seal v2\n"

// A Seal shows that whoever made a snapshot had a key of the store.
type Seal struct {
	// Key is the ID of the encryption key, and Code what authenticates the
	// digest of the snapshot with it.
	Key  string `json:"key"`
	Code []byte `json:"code"`
}

// A block is what stands between the database and the hash. There is one without
// a seal too.
type block struct {
	// Time is when the snapshot was begun. All that was acknowledged before is in
	// it.
	Time time.Time `json:"time"`
	*Seal
}

// A Sealer makes the seal of a snapshot with a digest, or none.
type Sealer func(digest []byte) *Seal

// digestOf returns the SHA-256 of all that a seal is about: the database, by its
// own SHA-256, and the time.
func digestOf(database []byte, at time.Time) []byte {
	digest := sha256.New()
	digest.Write([]byte(sealMark))
	digest.Write(database)
	digest.Write([]byte(at.UTC().Format(time.RFC3339Nano)))
	return digest.Sum(nil)
}

// Copy copies the snapshot that etcd streams from src to dst, and adds when it was
// begun, and the seal. An error means that what dst has got is no snapshot: the
// stream broke, or is not what its own hash says.
func Copy(dst io.Writer, src io.Reader, at time.Time, seal Sealer) error {
	database, whole := sha256.New(), sha256.New()
	// The stream ends with a hash that is not a part of the database, and
	// nothing says when, so the last bytes are always held back.
	var held []byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := src.Read(buffer)
		held = append(held, buffer[:n]...)
		if pass := len(held) - sha256.Size; pass > 0 {
			database.Write(held[:pass])
			if _, err := io.MultiWriter(dst, whole).Write(held[:pass]); err != nil {
				return fmt.Errorf("writing snapshot: %w", err)
			}
			held = append(held[:0], held[pass:]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading snapshot: %w", err)
		}
	}
	digest := database.Sum(nil)
	if !bytes.Equal(digest, held) {
		return errors.New("the snapshot from etcd is not what its hash says: it is not whole")
	}
	text, err := block{at.UTC(), seal(digestOf(digest, at))}.encode()
	if err != nil {
		return err
	}
	if _, err := io.MultiWriter(dst, whole).Write(text); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	if _, err := dst.Write(whole.Sum(nil)); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	return nil
}

func (b block) encode() ([]byte, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding seal: %w", err)
	}
	out := append([]byte(sealMark), text...)
	if len(out) > sealSize {
		return nil, fmt.Errorf("the seal is larger than %d bytes", sealSize)
	}
	return append(out, make([]byte, sealSize-len(out))...), nil
}

// parseBlock returns what is in a block, or nil if it is none.
func parseBlock(text []byte) (*block, error) {
	text, ok := bytes.CutPrefix(text, []byte(sealMark))
	if !ok {
		return nil, nil
	}
	var b block
	if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &b); err != nil || b.Time.IsZero() {
		return nil, errors.New("its seal cannot be read")
	}
	if b.Seal != nil && (b.Key == "" || len(b.Code) == 0) {
		return nil, errors.New("its seal cannot be read")
	}
	return &b, nil
}
