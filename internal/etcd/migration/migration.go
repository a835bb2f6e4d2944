// Package migration copies what one store holds into another, empty one.
//
// The copy never overwrites: each key is written only where there is none, and
// a key that is there with another value ends the migration. So it can be
// interrupted at any point and begun again. From its first write to its last
// the target holds a mark, and no server starts on a store with the mark. The
// last write takes the mark away and sets the claim, after both sides were read
// through once more and found the same.
//
// What has a time to live, which is Events, is left behind: it would be gone
// soon, and the two sides could not be compared.
package migration

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
)

const (
	// chunkKeys and chunkBytes bound a write below etcd's own limits, which
	// are 128 operations and 1.5 MiB. One object may be larger than chunkBytes.
	chunkKeys  = 100
	chunkBytes = 512 << 10
	// ownPrefix is what Gatehouse keeps beside the objects.
	ownPrefix = "/gatehouse/"
)

// ErrOccupied is wrapped by the errors about a target that holds something else.
var ErrOccupied = errors.New("the target is not empty")

// A Migration is a copy from one store to another.
type Migration struct {
	From, To *clientv3.Client
	// Prefix is what the keys of the objects begin with, such as /registry. It
	// stays the same, because what is encrypted is bound to its key.
	Prefix string
	// Progress, which may be nil, is told how many keys of how many are there.
	Progress func(done, total int)
}

// A Result is what both stores hold after a migration.
type Result struct {
	// Keys is how many keys are the same, and Left how many were left behind
	// because they have a time to live.
	Keys, Left int
	// Digest is the SHA-256 over all keys and values.
	Digest []byte
}

// Run copies and compares. The source must not be written meanwhile.
func (m *Migration) Run(ctx context.Context) (Result, error) {
	claim, err := m.From.Get(ctx, etcd.ClaimKey)
	if err != nil {
		return Result{}, fmt.Errorf("reading the source: %w", err)
	}
	if len(claim.Kvs) == 0 {
		return Result{}, errors.New("the source has no claim: no server has used it yet")
	}
	want, err := m.sum(ctx, m.From)
	if err != nil {
		return Result{}, fmt.Errorf("reading the source: %w", err)
	}
	done, err := m.begin(ctx, want, claim.Kvs[0].Value)
	if err != nil || done {
		return want, err
	}
	if err := m.copy(ctx, want.Keys); err != nil {
		return Result{}, err
	}
	got, err := m.sum(ctx, m.To)
	if err != nil {
		return Result{}, fmt.Errorf("reading the target: %w", err)
	}
	if got.Keys != want.Keys || !slices.Equal(got.Digest, want.Digest) {
		return Result{}, fmt.Errorf("%w: after the copy it holds %d keys and the source %d, or others: another process writes to it",
			ErrOccupied, got.Keys, want.Keys)
	}
	return want, m.end(ctx, claim.Kvs[0].Value)
}

// begin leaves the mark, or finds that all is there already.
func (m *Migration) begin(ctx context.Context, want Result, claim []byte) (done bool, err error) {
	mark := fmt.Sprintf("%x", want.Digest)
	put, err := m.To.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(etcd.MigrationKey), "=", 0)).
		Else(clientv3.OpGet(etcd.MigrationKey)).Commit()
	if err != nil {
		return false, fmt.Errorf("reading the target: %w", err)
	}
	if !put.Succeeded {
		if got := put.Responses[0].GetResponseRange().Kvs; string(got[0].Value) != mark {
			return false, fmt.Errorf("%w: a migration of other data has begun there: empty the cluster first", ErrOccupied)
		}
		return false, nil // goes on where the last one stopped
	}
	got, err := m.sum(ctx, m.To)
	if err != nil {
		return false, fmt.Errorf("reading the target: %w", err)
	}
	there, err := m.To.Get(ctx, etcd.ClaimKey)
	switch {
	case err != nil:
		return false, fmt.Errorf("reading the target: %w", err)
	case len(there.Kvs) > 0 && string(there.Kvs[0].Value) == string(claim) && slices.Equal(got.Digest, want.Digest):
		return true, nil
	case len(there.Kvs) > 0 || got.Keys+got.Left > 0:
		return false, fmt.Errorf("%w: it holds %d keys below %s and %s that are not those of the source: choose an empty cluster or another --etcd-prefix",
			ErrOccupied, got.Keys+got.Left+len(there.Kvs), m.Prefix, ownPrefix)
	}
	set, err := m.To.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(etcd.MigrationKey), "=", 0)).
		Then(clientv3.OpPut(etcd.MigrationKey, mark)).Commit()
	if err == nil && !set.Succeeded {
		err = fmt.Errorf("%w: another migration has just begun", ErrOccupied)
	}
	return false, err
}

// end takes the mark away in the same write that sets the claim.
func (m *Migration) end(ctx context.Context, claim []byte) error {
	_, err := m.To.Txn(ctx).Then(
		clientv3.OpDelete(etcd.MigrationKey),
		clientv3.OpPut(etcd.ClaimKey, string(claim)),
	).Commit()
	if err != nil {
		return fmt.Errorf("ending the migration: %w", err)
	}
	return nil
}

func (m *Migration) copy(ctx context.Context, total int) error {
	done := 0
	_, err := m.each(ctx, m.From, func(kvs []*mvccpb.KeyValue) error {
		for len(kvs) > 0 {
			n := chunk(kvs)
			if err := m.write(ctx, kvs[:n]); err != nil {
				return err
			}
			kvs, done = kvs[n:], done+n
			if m.Progress != nil {
				m.Progress(done, total)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	return nil
}

// chunk returns how many of kvs go into one write.
func chunk(kvs []*mvccpb.KeyValue) int {
	size := 0
	for i, kv := range kvs {
		size += len(kv.Key) + len(kv.Value)
		if i == chunkKeys || i > 0 && size > chunkBytes {
			return i
		}
	}
	return len(kvs)
}

// write puts kvs where there is nothing. If some are there they must be the
// same, and the rest is written one by one.
func (m *Migration) write(ctx context.Context, kvs []*mvccpb.KeyValue) error {
	var absent []clientv3.Cmp
	var puts []clientv3.Op
	for _, kv := range kvs {
		absent = append(absent, clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", 0))
		puts = append(puts, clientv3.OpPut(string(kv.Key), string(kv.Value)))
	}
	put, err := m.To.Txn(ctx).If(absent...).Then(puts...).Commit()
	if err != nil || put.Succeeded {
		return err
	}
	if len(kvs) > 1 {
		for i := range kvs {
			if err := m.write(ctx, kvs[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	there, err := m.To.Get(ctx, string(kvs[0].Key))
	if err != nil {
		return err
	}
	if len(there.Kvs) != 1 || string(there.Kvs[0].Value) != string(kvs[0].Value) {
		return fmt.Errorf("%w: %s is there with another value", ErrOccupied, kvs[0].Key)
	}
	return nil
}

// sum counts and hashes what there is to copy.
func (m *Migration) sum(ctx context.Context, client *clientv3.Client) (Result, error) {
	r, h := Result{}, sha256.New()
	var err error
	r.Left, err = m.each(ctx, client, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			r.Keys++
			add(h, kv.Key)
			add(h, kv.Value)
		}
		return nil
	})
	r.Digest = h.Sum(nil)
	return r, err
}

// add hashes the length too, so that no two lists come to the same.
func add(h hash.Hash, text []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(text)))
	h.Write(n[:])
	h.Write(text)
}

// each visits, in order and in pages of one revision, the keys that are to be
// copied, and counts those that are left behind.
func (m *Migration) each(ctx context.Context, client *clientv3.Client, visit func([]*mvccpb.KeyValue) error) (left int, err error) {
	revision := int64(0)
	for _, prefix := range []string{ownPrefix, m.Prefix + "/"} {
		from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
		for {
			page, err := client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(chunkKeys), clientv3.WithRev(revision))
			if err != nil {
				return left, err
			}
			if revision == 0 {
				revision = page.Header.Revision
			}
			var kvs []*mvccpb.KeyValue
			for _, kv := range page.Kvs {
				switch key := string(kv.Key); {
				case key == etcd.ClaimKey || key == etcd.MigrationKey:
				case kv.Lease != 0:
					left++
				default:
					kvs = append(kvs, kv)
				}
			}
			if err := visit(kvs); err != nil {
				return left, err
			}
			if !page.More {
				break
			}
			from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		}
	}
	return left, nil
}
