// Package volume keeps one value in etcd that may be larger than what etcd takes
// at once.
//
// The one idea: an edition of the value is written in pieces beside the one that
// is in force, and a small head, changed last and by comparison, says which one
// that is. So a reader sees one edition or the other, whole, and of two writers
// one is told that he came too late.
//
// It refuses values larger than [MaxValue], and an edition whose number is not
// greater than that of the one before.
package volume

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// MaxValue is the size of the largest value, in bytes.
	MaxValue = 64 << 20
	// piece leaves room in the 1.5 MiB of a request.
	piece = 1 << 20
)

// ErrLate is returned, wrapped, by a writer who does not know of the edition in
// force.
var ErrLate = errors.New("another edition is in force")

// A Volume is one value below a prefix. Use [New].
type Volume struct {
	client *clientv3.Client
	prefix string
}

// New returns the volume of a prefix, which must end in a slash.
func New(client *clientv3.Client, prefix string) *Volume { return &Volume{client, prefix} }

// A Head says which edition is in force. The zero value is before the first.
type Head struct {
	// Number is that of the edition, and grows. It is nil before the first.
	Number *big.Int `json:"number,omitempty"`
	// Note is what the writer has written on it.
	Note string `json:"note,omitempty"`
	// Place and Pieces are where the value is, and of how many pieces.
	Place  string `json:"place,omitempty"`
	Pieces int    `json:"pieces,omitempty"`
	// revision is that of the store when the head was written.
	revision int64
}

// Head returns the head in force.
func (v *Volume) Head(ctx context.Context) (Head, error) {
	got, err := v.client.Get(ctx, v.prefix+"head")
	if err != nil {
		return Head{}, fmt.Errorf("reading which edition is in force: %w", err)
	}
	if len(got.Kvs) == 0 {
		return Head{}, nil
	}
	var h Head
	if err := json.Unmarshal(got.Kvs[0].Value, &h); err != nil || h.Number == nil {
		return Head{}, fmt.Errorf("reading which edition is in force: %s%s is not one that this program has written", v.prefix, "head")
	}
	h.revision = got.Kvs[0].ModRevision
	return h, nil
}

// Read returns the value of an edition. It fails if another one has come into
// force and this one is gone.
func (v *Volume) Read(ctx context.Context, h Head) ([]byte, error) {
	if h.Number == nil {
		return nil, errors.New("there is no edition yet")
	}
	var value bytes.Buffer
	for i := range h.Pieces {
		got, err := v.client.Get(ctx, v.piece(h.Place, i))
		if err != nil {
			return nil, fmt.Errorf("reading edition %s: %w", h.Number, err)
		}
		if len(got.Kvs) == 0 {
			return nil, fmt.Errorf("reading edition %s: %w", h.Number, ErrLate)
		}
		value.Write(got.Kvs[0].Value)
	}
	return value.Bytes(), nil
}

// Write puts an edition into force after the one of a head, and returns its own.
// If another edition is in force by now, the error wraps [ErrLate].
func (v *Volume) Write(ctx context.Context, after Head, number *big.Int, note string, value []byte) (Head, error) {
	switch {
	case len(value) > MaxValue:
		return Head{}, fmt.Errorf("writing edition %s: it has %d bytes, and at most %d are kept", number, len(value), MaxValue)
	case after.Number != nil && number.Cmp(after.Number) <= 0:
		return Head{}, fmt.Errorf("writing edition %s: the one in force is %s", number, after.Number)
	}
	next := Head{Number: number, Note: note, Place: rand.Text()}
	for part := range slices.Chunk(value, piece) {
		if _, err := v.client.Put(ctx, v.piece(next.Place, next.Pieces), string(part)); err != nil {
			return Head{}, fmt.Errorf("writing edition %s: %w", number, err)
		}
		next.Pieces++
	}
	text, err := json.Marshal(next)
	if err != nil {
		return Head{}, fmt.Errorf("writing edition %s: %w", number, err)
	}
	head := v.prefix + "head"
	done, err := v.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(head), "=", after.revision)).
		Then(clientv3.OpPut(head, string(text)), v.drop(after.Place)).
		Else(v.drop(next.Place)).Commit()
	if err != nil {
		return Head{}, fmt.Errorf("writing edition %s: %w", number, err)
	}
	if !done.Succeeded {
		return Head{}, fmt.Errorf("writing edition %s: %w", number, ErrLate)
	}
	next.revision = done.Header.Revision
	return next, nil
}

// drop removes the pieces in a place.
func (v *Volume) drop(place string) clientv3.Op {
	if place == "" { // nothing was in force
		return clientv3.OpGet(v.prefix + "head")
	}
	return clientv3.OpDelete(v.pieces(place), clientv3.WithPrefix())
}

func (v *Volume) pieces(place string) string { return v.prefix + "pieces/" + place + "/" }

func (v *Volume) piece(place string, i int) string { return v.pieces(place) + strconv.Itoa(i) }
