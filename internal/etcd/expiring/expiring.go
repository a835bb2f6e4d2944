// Package expiring keeps small values in etcd for a while.
//
// A [Shelf] is all keys below one prefix, beside those of the objects. Every key
// goes away by itself: it is bound to a lease that nobody keeps alive. The one
// idea is that values share leases, one for each twelfth of their time, so that
// etcd has a dozen leases of a process to watch and not one for each value. A
// value therefore lives a little longer than it has to, and never shorter.
//
// It refuses values of more than [MaxValue]; what is bounded beyond that is the
// business of who writes.
package expiring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// MaxValue is the size of the largest value, in bytes.
	MaxValue = 64 << 10
	// leasesAlive is how many leases the values of one time have at most.
	leasesAlive = 12
	// chunk is how many keys go into one write, of the 128 that etcd takes.
	chunk = 64
)

// A Shelf keeps values below a prefix. Use [New]. All methods may be called at
// the same time.
type Shelf struct {
	client *clientv3.Client
	prefix string
	life   time.Duration

	mu    sync.Mutex
	lease clientv3.LeaseID
	until time.Time // when the next lease is due
}

// New returns the shelf of a prefix, which must end in a slash. Values live for
// at least life.
func New(client *clientv3.Client, prefix string, life time.Duration) *Shelf {
	return &Shelf{client: client, prefix: prefix, life: life}
}

// Life is for how long a value is kept at least.
func (s *Shelf) Life() time.Duration { return s.life }

// Put writes values by their keys, in the order of the keys. If it fails, some
// of them may have been written.
func (s *Shelf) Put(ctx context.Context, values map[string][]byte) error {
	for key, value := range values {
		if len(value) > MaxValue {
			return fmt.Errorf("keeping %s: it has %d bytes, and at most %d are kept", key, len(value), MaxValue)
		}
	}
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(values)), chunk) {
		err := s.put(ctx, keys, values)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			// A store that was restored has none of the leases of before.
			s.forget()
			err = s.put(ctx, keys, values)
		}
		if err != nil {
			return fmt.Errorf("keeping %d values: %w", len(keys), err)
		}
	}
	return nil
}

func (s *Shelf) put(ctx context.Context, keys []string, values map[string][]byte) error {
	lease, err := s.current(ctx)
	if err != nil {
		return err
	}
	var puts []clientv3.Op
	for _, key := range keys {
		puts = append(puts, clientv3.OpPut(s.prefix+key, string(values[key]), clientv3.WithLease(lease)))
	}
	_, err = s.client.Txn(ctx).Then(puts...).Commit()
	return err
}

// current returns the lease of what is written now.
func (s *Shelf) current(ctx context.Context) (clientv3.LeaseID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, share := time.Now(), s.life/leasesAlive
	if now.Before(s.until) {
		return s.lease, nil
	}
	granted, err := s.client.Grant(ctx, int64((s.life+share)/time.Second)+1)
	if err != nil {
		return 0, fmt.Errorf("asking for a lease: %w", err)
	}
	s.lease, s.until = granted.ID, now.Add(share)
	return s.lease, nil
}

func (s *Shelf) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// Get returns the values of those of the keys that are there.
func (s *Shelf) Get(ctx context.Context, keys ...string) (map[string][]byte, error) {
	values := make(map[string][]byte, len(keys))
	for some := range slices.Chunk(keys, chunk) {
		var gets []clientv3.Op
		for _, key := range some {
			gets = append(gets, clientv3.OpGet(s.prefix+key))
		}
		got, err := s.client.Txn(ctx).Then(gets...).Commit()
		if err != nil {
			return nil, fmt.Errorf("reading what is kept: %w", err)
		}
		for _, one := range got.Responses {
			for _, kv := range one.GetResponseRange().Kvs {
				values[strings.TrimPrefix(string(kv.Key), s.prefix)] = kv.Value
			}
		}
	}
	return values, nil
}

// Below returns the first keys that begin with prefix, in order, with their
// values, at most so many; and how many there are.
func (s *Shelf) Below(ctx context.Context, prefix string, most int) (keys []string, values [][]byte, all int, err error) {
	got, err := s.client.Get(ctx, s.prefix+prefix, clientv3.WithPrefix(), clientv3.WithLimit(int64(most)))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading what is kept: %w", err)
	}
	for _, kv := range got.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), s.prefix))
		values = append(values, kv.Value)
	}
	return keys, values, int(got.Count), nil
}
