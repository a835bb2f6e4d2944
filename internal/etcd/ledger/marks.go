package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Mark is to be set on the row of a name.
type Mark struct {
	Name string
	// Ends is when the row ends, which whoever sets a mark knows.
	Ends time.Time
	Mark uint32
}

// marksAtOnce keeps a transaction with its conditions inside what etcd takes.
const marksAtOnce = 32

// Mark sets marks. What has no row of that name and end is passed over, and
// nothing is written where the mark is set already. If it fails, some may have
// been set.
func (l *Ledger) Mark(ctx context.Context, marks []Mark) error {
	for some := range slices.Chunk(marks, marksAtOnce) {
		var sets []clientv3.Op
		for _, m := range some {
			key, value := l.prefix+names+m.Name, encodeName(m.Ends, m.Mark)
			sets = append(sets, clientv3.OpTxn(
				[]clientv3.Cmp{
					clientv3.Compare(clientv3.CreateRevision(l.prefix+rows+encodeEnd(m.Ends)+"/"+m.Name), ">", 0),
					clientv3.Compare(clientv3.Value(key), "!=", value),
				},
				[]clientv3.Op{clientv3.OpPut(key, value)}, nil))
		}
		if _, err := l.client.Txn(ctx).Then(sets...).Commit(); err != nil {
			return fmt.Errorf("setting %d marks: %w", len(some), err)
		}
	}
	return nil
}

// Marks fills in the marks of rows.
func (l *Ledger) Marks(ctx context.Context, all []Row) error {
	for some := range slices.Chunk(all, maxOperations) {
		var gets []clientv3.Op
		for _, r := range some {
			gets = append(gets, clientv3.OpGet(l.prefix+names+r.Name))
		}
		got, err := l.client.Txn(ctx).Then(gets...).Commit()
		if err != nil {
			return fmt.Errorf("reading %d marks: %w", len(some), err)
		}
		for i, one := range got.Responses {
			if kvs := one.GetResponseRange().Kvs; len(kvs) > 0 {
				_, some[i].Mark = decodeName(kvs[0].Value)
			}
		}
	}
	return nil
}

// Remove removes the rows of a page, each with its name unless that leads to
// another row by now: see [Ledger.Claim].
func (l *Ledger) Remove(ctx context.Context, all []Row) error {
	for some := range slices.Chunk(all, MaxRows) {
		var removals []clientv3.Op
		for _, r := range some {
			end := encodeEnd(r.Ends)
			row, name := clientv3.OpDelete(l.prefix+rows+end+"/"+r.Name), l.prefix+names+r.Name
			removals = append(removals, clientv3.OpTxn(leadsTo(name, end), []clientv3.Op{row, clientv3.OpDelete(name)}, []clientv3.Op{row}))
		}
		if _, err := l.client.Txn(ctx).Then(removals...).Commit(); err != nil {
			return fmt.Errorf("removing %d rows: %w", len(some), err)
		}
	}
	return nil
}

// leadsTo are the conditions under which a name holds an end, whatever its mark.
// What a name holds begins with as many digits each time, and a mark follows a
// space.
func leadsTo(name, end string) []clientv3.Cmp {
	before := end[:len(end)-1] + string(end[len(end)-1]-1) + "~"
	return []clientv3.Cmp{clientv3.Compare(clientv3.Value(name), ">", before), clientv3.Compare(clientv3.Value(name), "<", end+"!")}
}

// Sweep removes the rows that end before a time, and returns how many that were.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) (int, error) {
	swept := 0
	for {
		page, err := l.Page(ctx, Range{Until: before, Most: MaxRows, Window: whole})
		if err != nil || len(page.Rows) == 0 {
			return swept, err
		}
		if err := l.Remove(ctx, page.Rows); err != nil {
			return swept, err
		}
		swept += len(page.Rows)
	}
}

// Each calls visit for each row, in the order in which they end, until it fails.
// Rows that come or go meanwhile may be visited or not.
func (l *Ledger) Each(ctx context.Context, visit func(Row) error) error {
	at := Range{Most: 512}
	for {
		page, err := l.Page(ctx, at)
		if err != nil {
			return err
		}
		for _, r := range page.Rows {
			if err := visit(r); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		at.After, at.Window = page.After, page.Window
	}
}
