package ledger

import (
	"bytes"
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// claimTries bounds how often a claim is made anew because somebody else has
// written meanwhile: each time one of them has got further.
const claimTries = 10

// Claim puts a row, unless one of its name is there that has another value and has
// not ended at now; and reports whether the row is there. Of several who claim one
// name with different values at once, whatever process they are in, one gets it. A
// row that is claimed again ends when the later of the two does.
func (l *Ledger) Claim(ctx context.Context, row Row, now time.Time) (bool, error) {
	for range claimTries {
		there, revision, err := l.look(ctx, row.Name)
		if err != nil {
			return false, err
		}
		switch {
		case there == nil:
		case !bytes.Equal(there.Value, row.Value):
			if !now.After(there.Ends) {
				return false, nil
			}
		case !row.Ends.After(there.Ends):
			return true, nil
		}
		if done, err := l.exchange(ctx, there, &row, revision); done || err != nil {
			return done, err
		}
	}
	return false, fmt.Errorf("claiming row %s: others write it all the time", row.Name)
}

// look returns the row of a name, if there is one, and the revision at which its
// name was written.
func (l *Ledger) look(ctx context.Context, name string) (*Row, int64, error) {
	got, err := l.client.Get(ctx, l.prefix+names+name)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for row %s: %w", name, err)
	}
	if len(got.Kvs) == 0 {
		return nil, 0, nil
	}
	row, ok, err := l.Get(ctx, name)
	if err != nil || !ok {
		// Swept away since: the revision will not fit either.
		return nil, got.Kvs[0].ModRevision, err
	}
	return &row, got.Kvs[0].ModRevision, nil
}

// exchange puts a row in the place of another one, if its name was last written at
// a revision: never, if that is 0.
func (l *Ledger) exchange(ctx context.Context, there, row *Row, revision int64) (bool, error) {
	end := encodeEnd(row.Ends)
	writes := []clientv3.Op{
		clientv3.OpPut(l.prefix+rows+end+"/"+row.Name, string(row.Value)),
		clientv3.OpPut(l.prefix+names+row.Name, end),
	}
	if there != nil && encodeEnd(there.Ends) != end {
		writes = append(writes, clientv3.OpDelete(l.prefix+rows+encodeEnd(there.Ends)+"/"+row.Name))
	}
	done, err := l.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(l.prefix+names+row.Name), "=", revision)).Then(writes...).Commit()
	if err != nil {
		return false, fmt.Errorf("claiming row %s: %w", row.Name, err)
	}
	return done.Succeeded, nil
}
