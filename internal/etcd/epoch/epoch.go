// Package epoch counts the changes of what is revoked, in the store and outside
// it, so that a store from before a revocation is known for one.
//
// A store that is restored from a snapshot is whole and consistent, and nothing in
// it tells what is missing. So the count is also in a small file that is in no
// snapshot. The file is written before a change is acknowledged, and never counts
// back: if it has counted more than the store, the store has lost revocations.
//
// The package refuses to go on with such a store, and with a file that cannot be
// read. Without a file it has nothing to say against any store, and says that.
package epoch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

const (
	// Key is where the count is in the store, beside the objects.
	Key = "/gatehouse/revocation-epoch"
	// FileName is that of the file in a data directory.
	FileName = "revocation-epoch"
)

// ErrLost is wrapped by the errors about a store that has lost revocations.
var ErrLost = errors.New("the store is older than what was revoked")

// A Count is how often what is revoked has changed. The zero value is that of a
// store in which nothing was revoked yet.
type Count struct {
	// Epoch counts all changes, and Revoked those that revoke something.
	Epoch   int64 `json:"epoch"`
	Revoked int64 `json:"revoked"`
	// Changed is when the last change was.
	Changed time.Time `json:"changed,omitzero"`
}

// Evidence is what the file says: the highest count that was seen, and when it
// was last found to be that of the store.
type Evidence struct {
	Count
	Seen time.Time `json:"seen"`
}

// Lost returns an error that wraps [ErrLost] if a store with the count c has lost
// revocations that e knows of.
func (e *Evidence) Lost(c Count) error {
	if e.Revoked <= c.Revoked {
		return nil
	}
	since := "before anything was revoked"
	if !c.Changed.IsZero() {
		since = "with the last one at " + c.Changed.UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("%w: it has %d changes of revocations, %s, and %d were made, the last at %s",
		ErrLost, c.Epoch, since, e.Epoch, e.Changed.UTC().Format(time.RFC3339))
}

// Parse reads what is stored at [Key].
func Parse(stored []byte) (Count, error) {
	var c Count
	if err := json.Unmarshal(stored, &c); err != nil || c.Revoked < 0 || c.Epoch < c.Revoked {
		return Count{}, fmt.Errorf("the count of revocations at %s in the store cannot be read", Key)
	}
	return c, nil
}

// Read returns the count of a store, and at which revisions the store is and the
// count was written. It is as the members of the store agree on it now.
func Read(ctx context.Context, client *clientv3.Client) (c Count, now, written int64, err error) {
	found, err := client.Get(ctx, Key)
	if err != nil {
		return Count{}, 0, 0, fmt.Errorf("reading the count of revocations: %w", err)
	}
	now = found.Header.Revision
	if len(found.Kvs) == 0 {
		return Count{}, now, 0, nil
	}
	c, err = Parse(found.Kvs[0].Value)
	return c, now, found.Kvs[0].ModRevision, err
}

// ReadFile reads a file of evidence. A file that is not there is none: nil.
func ReadFile(path string) (*Evidence, error) {
	text, err := wholefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the count of revocations: %w", err)
	}
	var e Evidence
	if err := json.Unmarshal(text, &e); err != nil || e.Revoked < 0 || e.Epoch < e.Revoked {
		return nil, fmt.Errorf("the count of revocations in %s cannot be read: put a copy back, or remove the file if it is accepted that revocations may be missing", path)
	}
	return &e, nil
}

// Write writes the file of evidence. It is there, and lasts, when Write returns.
func (e *Evidence) Write(path string) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding the count of revocations: %w", err)
	}
	if err := wholefile.Write(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the count of revocations: %w", err)
	}
	return nil
}
