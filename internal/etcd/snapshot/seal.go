package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// sealSize keeps the size of the file what etcd expects: a multiple of 512
// bytes and a hash.
const sealSize = 512

// sealMark is what the block of a seal begins with.
const sealMark = "gatehouse snapshot seal v1\n"

// A Seal shows that whoever made a snapshot had a key of the store.
type Seal struct {
	// Key is the ID of the encryption key, and Code what authenticates the
	// SHA-256 of the database with it.
	Key  string `json:"key"`
	Code []byte `json:"code"`
}

// A Sealer makes the seal of a database with a SHA-256, or none.
type Sealer func(digest []byte) *Seal

// Copy copies the snapshot that etcd streams from src to dst, and adds the seal.
// An error means that what dst has got is no snapshot: the stream broke, or is
// not what its own hash says.
func Copy(dst io.Writer, src io.Reader, seal Sealer) error {
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
	if s := seal(digest); s != nil {
		block, err := s.block()
		if err != nil {
			return err
		}
		if _, err := io.MultiWriter(dst, whole).Write(block); err != nil {
			return fmt.Errorf("writing snapshot: %w", err)
		}
	}
	if _, err := dst.Write(whole.Sum(nil)); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	return nil
}

func (s *Seal) block() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding seal: %w", err)
	}
	block := append([]byte(sealMark), text...)
	if len(block) > sealSize {
		return nil, fmt.Errorf("the seal is larger than %d bytes", sealSize)
	}
	return append(block, make([]byte, sealSize-len(block))...), nil
}

// parseSeal returns the seal in a block, or nil if it is none.
func parseSeal(block []byte) (*Seal, error) {
	text, ok := bytes.CutPrefix(block, []byte(sealMark))
	if !ok {
		return nil, nil
	}
	var s Seal
	if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &s); err != nil || s.Key == "" || len(s.Code) == 0 {
		return nil, errors.New("its seal cannot be read")
	}
	return &s, nil
}
