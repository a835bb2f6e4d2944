package epoch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// advanceTimeout bounds how long a change waits for its count.
	advanceTimeout = 10 * time.Second
	// seenEvery is how often the file is written though nothing has changed, so
	// that it tells until when nothing has.
	seenEvery = time.Hour
)

// A Keeper keeps the two counts of one process. Use [Open].
type Keeper struct {
	client *clientv3.Client
	file   string // or "": then only this process remembers

	mu sync.Mutex
	// next is the batch that changes join.
	next *batch
	// writing is held while a batch is written, and what follows is read or
	// written under it.
	writing sync.Mutex
	known   Evidence
}

// A batch is changes that are counted together.
type batch struct {
	changes, revoked int64
	done             chan struct{}
	err              error
}

// Open compares the store with what the file at path knows, and brings the file
// up to date. An empty path is that of no file. It fails with [ErrLost] if the
// store has lost revocations.
func Open(ctx context.Context, client *clientv3.Client, path string, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{client: client, file: path}
	stored, _, _, err := Read(ctx, client)
	if err != nil {
		return nil, err
	}
	var evidence *Evidence
	if path != "" {
		if evidence, err = ReadFile(path); err != nil {
			return nil, err
		}
	}
	if evidence == nil && stored.Epoch > 0 {
		log.WarnContext(ctx, "nothing outside the store tells whether revocations were lost", "changed", stored.Changed, "file", path)
	}
	if evidence != nil {
		k.known = *evidence
	}
	return k, k.see(stored, time.Now())
}

// Check reads the count of the store, and returns the revision that the store is
// at. It fails with [ErrLost] if the count has gone back. No change is counted
// between the two: what was read before one would seem to have gone back.
func (k *Keeper) Check(ctx context.Context) (revision int64, err error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	stored, revision, _, err := Read(ctx, k.client)
	if err != nil {
		return 0, err
	}
	return revision, k.see(stored, time.Now())
}

// see takes in a count of the store. The lock is held.
func (k *Keeper) see(stored Count, now time.Time) error {
	if err := k.known.Lost(stored); err != nil {
		if k.file == "" {
			return fmt.Errorf("%w; if they are to be given up, start the server again", err)
		}
		return fmt.Errorf("%w; bring the revocations back, or, if they are to be given up, remove %s and start the server again", err, k.file)
	}
	if stored.Epoch == k.known.Epoch && now.Sub(k.known.Seen) < seenEvery {
		return nil
	}
	next := Evidence{Count: stored, Seen: now.UTC()}
	if k.file != "" {
		if err := next.Write(k.file); err != nil {
			return err
		}
	}
	k.known = next
	return nil
}

// Advance counts one change of what is revoked, and returns when the count lasts
// in both places. It is to be called when the change is in the store, and before
// it is acknowledged. Changes that come together are counted together.
func (k *Keeper) Advance(ctx context.Context, revokes bool) error {
	k.mu.Lock()
	b := k.next
	if b == nil {
		b = &batch{done: make(chan struct{})}
		k.next = b
		go k.commit(context.WithoutCancel(ctx), b)
	}
	if b.changes++; revokes {
		b.revoked++
	}
	k.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit counts the changes of a batch, which more join until its turn comes.
func (k *Keeper) commit(ctx context.Context, b *batch) {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	k.next = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, advanceTimeout)
	defer cancel()
	b.err = k.count(ctx, b)
	close(b.done)
}

func (k *Keeper) count(ctx context.Context, b *batch) error {
	for {
		c, _, revision, err := Read(ctx, k.client)
		if err != nil {
			return err
		}
		if err := k.known.Lost(c); err != nil {
			return err
		}
		c.Epoch += b.changes
		c.Revoked += b.revoked
		c.Changed = time.Now().UTC()
		text, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encoding the count of revocations: %w", err)
		}
		put, err := k.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(Key), "=", revision)).
			Then(clientv3.OpPut(Key, string(text))).Commit()
		if err != nil {
			return fmt.Errorf("writing the count of revocations: %w", err)
		}
		if put.Succeeded {
			return k.see(c, c.Changed)
		}
		// Another process was faster.
	}
}
