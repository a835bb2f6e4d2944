// Package document keeps one document in etcd that many processes change: sealed
// as Secrets are, read as it is now, and written only by who has seen what it
// replaces.
//
// It refuses to write over what it has not read, and to open what was sealed for
// another place.
package document

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Sealer encrypts what is kept at a key, and decrypts it there and nowhere
// else.
type Sealer interface {
	Seal(ctx context.Context, key string, plain []byte) ([]byte, error)
	// Open returns the plain text, and whether another key than the first has
	// sealed it.
	Open(ctx context.Context, key string, sealed []byte) (plain []byte, old bool, err error)
}

// A Document is what is kept at one key.
type Document struct {
	Client *clientv3.Client
	Key    string
	Sealer Sealer
}

// Load returns the text as it is now, nil if there is none, and its revision. Old
// says that it is to be written anew, because another key has sealed it.
func (d *Document) Load(ctx context.Context) (text []byte, revision int64, old bool, err error) {
	got, err := d.Client.Get(ctx, d.Key)
	if err != nil {
		return nil, 0, false, fmt.Errorf("reading %s: %w", d.Key, err)
	}
	if len(got.Kvs) == 0 {
		return nil, 0, false, nil
	}
	text, old, err = d.Sealer.Open(ctx, d.Key, got.Kvs[0].Value)
	if err != nil {
		return nil, 0, false, fmt.Errorf("decrypting %s: %w", d.Key, err)
	}
	return text, got.Kvs[0].ModRevision, old, nil
}

// Save replaces the text of a revision, which is 0 for none, and returns the new
// revision; or false, if the text is of another revision by now.
func (d *Document) Save(ctx context.Context, text []byte, revision int64) (int64, bool, error) {
	sealed, err := d.Sealer.Seal(ctx, d.Key, text)
	if err != nil {
		return 0, false, fmt.Errorf("encrypting %s: %w", d.Key, err)
	}
	put, err := d.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(d.Key), "=", revision)).
		Then(clientv3.OpPut(d.Key, string(sealed))).Commit()
	if err != nil {
		return 0, false, fmt.Errorf("writing %s: %w", d.Key, err)
	}
	return put.Header.Revision, put.Succeeded, nil
}

// pause is how long to wait before a watch that broke is made anew.
const pause = 200 * time.Millisecond

// Watch calls changed whenever the text may have changed, until ctx is done. It
// is called after each break of the watch too, because of what was missed.
func (d *Document) Watch(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		// Without a leader the watch would only be silent.
		watch := d.Client.Watch(clientv3.WithRequireLeader(ctx), d.Key)
		changed()
		for event := range watch {
			if event.Err() != nil {
				break
			}
			changed()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
