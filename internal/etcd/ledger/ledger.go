// Package ledger keeps very many small rows in etcd, each of which ends one day.
//
// The one idea is the order of the keys: a row lies under the second in which it
// ends, and then under its name. So what ends soon, what has ended, and what
// never ends are each a range, and neither asking for them nor sweeping them away
// looks at anything else. A second key, under the name alone, says where the row
// is, and holds its mark: a number that changes often, so that the row itself
// never does. Nothing of it is kept in memory.
//
// It refuses rows larger than [MaxValue] and more at once than etcd takes in one
// transaction, and it never changes a row whose name is there in part only: both
// keys are written and removed together.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// MaxValue is the size of the largest value, in bytes.
	MaxValue = 64 << 10
	// MaxRows is how many rows are written at once: two keys of each, of the 128
	// that etcd takes by default.
	MaxRows = 64
	// maxOperations is what etcd takes in one transaction.
	maxOperations = 128

	rows  = "ends/"
	names = "name/"
	// never is the end of what has none. It is behind every other: seconds are
	// written with ten hexadecimal digits.
	never = "ffffffffff"
)

// ErrGone is returned, wrapped, when the past that a page was asked for has been
// forgotten.
var ErrGone = errors.New("the state that was asked for is forgotten")

// A Row is one of the ledger.
type Row struct {
	// Name has no slash in it.
	Name string
	// Ends is when the row counts no more, to the second. Zero is never.
	Ends  time.Time
	Value []byte
	// Mark is zero until [Ledger.Mark] sets it.
	Mark uint32
	// Revision is that of the store when the row was written.
	Revision int64
}

// Place is where the row is, for the After of a [Range].
func (r *Row) Place() string { return encodeEnd(r.Ends) + "/" + r.Name }

// A Ledger is all rows below a prefix. Use [New]. Its methods may be called at
// the same time.
type Ledger struct {
	client *clientv3.Client
	prefix string
}

// New returns the ledger of a prefix, which must end in a slash.
func New(client *clientv3.Client, prefix string) *Ledger {
	return &Ledger{client: client, prefix: prefix}
}

// Put writes rows, all or none. A row of a name that is there must end when that
// one does, and takes its place; its mark begins anew.
func (l *Ledger) Put(ctx context.Context, put []Row) error {
	if len(put) > MaxRows {
		return fmt.Errorf("writing %d rows: at most %d are written at once", len(put), MaxRows)
	}
	var puts []clientv3.Op
	for _, r := range put {
		if len(r.Value) > MaxValue {
			return fmt.Errorf("writing row %s: it has %d bytes, and at most %d are kept", r.Name, len(r.Value), MaxValue)
		}
		if r.Name == "" || strings.Contains(r.Name, "/") {
			return fmt.Errorf("writing row %q: that is no name", r.Name)
		}
		end := encodeEnd(r.Ends)
		puts = append(puts,
			clientv3.OpPut(l.prefix+rows+end+"/"+r.Name, string(r.Value)),
			clientv3.OpPut(l.prefix+names+r.Name, end))
	}
	if _, err := l.client.Txn(ctx).Then(puts...).Commit(); err != nil {
		return fmt.Errorf("writing %d rows: %w", len(put), err)
	}
	return nil
}

// Get returns the row of a name, and whether it is there.
func (l *Ledger) Get(ctx context.Context, name string) (Row, bool, error) {
	if name == "" || strings.Contains(name, "/") {
		return Row{}, false, nil
	}
	got, err := l.client.Get(ctx, l.prefix+names+name)
	if err != nil {
		return Row{}, false, fmt.Errorf("reading row %s: %w", name, err)
	}
	if len(got.Kvs) == 0 {
		return Row{}, false, nil
	}
	end, mark := decodeName(got.Kvs[0].Value)
	row, err := l.client.Get(ctx, l.prefix+rows+end+"/"+name)
	if err != nil {
		return Row{}, false, fmt.Errorf("reading row %s: %w", name, err)
	}
	if len(row.Kvs) == 0 {
		return Row{}, false, nil // swept away since
	}
	out, err := l.row(row.Kvs[0])
	out.Mark = mark
	return out, err == nil, err
}

// Count returns how many rows there are.
func (l *Ledger) Count(ctx context.Context) (int64, error) {
	got, err := l.client.Get(ctx, l.prefix+names, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("counting rows: %w", err)
	}
	return got.Count, nil
}

// row reads a row from its key and value.
func (l *Ledger) row(kv *mvccpb.KeyValue) (Row, error) {
	end, name, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), l.prefix+rows), "/")
	ends, err := decodeEnd(end)
	if !ok || err != nil {
		return Row{}, fmt.Errorf("reading rows: the key %q is not one of a row", kv.Key)
	}
	return Row{Name: name, Ends: ends, Value: kv.Value, Revision: kv.ModRevision}, nil
}

func encodeEnd(t time.Time) string {
	if t.IsZero() {
		return never
	}
	return encodeFirst(time.Unix(min(t.Unix(), afterAll-1), 0))
}

// afterAll is the second that stands for never, behind every other.
const afterAll = 1<<40 - 1

// encodeFirst writes the first end that a range may have, of which zero is the
// beginning. Times that cannot be written become the nearest that can.
func encodeFirst(t time.Time) string {
	var seconds int64
	if !t.IsZero() {
		seconds = min(max(t.Unix(), 0), afterAll)
	}
	return fmt.Sprintf("%010x", seconds)
}

func decodeEnd(text string) (time.Time, error) {
	if text == never {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 16, 64)
	if err != nil || len(text) != len(never) {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// What a name holds is the end of its row, and the mark if there is one.
func encodeName(end time.Time, mark uint32) string {
	return encodeEnd(end) + " " + strconv.FormatUint(uint64(mark), 16)
}

func decodeName(value []byte) (end string, mark uint32) {
	end, text, _ := strings.Cut(string(value), " ")
	n, _ := strconv.ParseUint(text, 16, 32) // none is zero
	return end, uint32(n)
}
