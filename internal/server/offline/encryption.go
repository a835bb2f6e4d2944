package offline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
)

// scanPage is how many objects are looked at in one read.
const scanPage = 500

// ErrInUse means that values are still encrypted with a key.
var ErrInUse = errors.New("the key is still in use")

// An Encryption is the keys at rest that a data directory made for itself.
type Encryption struct {
	DataDir string
	Log     *slog.Logger
}

// A KeyUse is a key, and how many values it has encrypted.
type KeyUse struct {
	atrest.Description
	// Values is -1 where it cannot be counted, because a server runs.
	Values int `json:"values"`
}

// Rotate adds a key, which is used from the next start of the server on, and
// returns its ID.
func (e *Encryption) Rotate() (atrest.ID, error) {
	file, err := e.file()
	if err != nil {
		return "", err
	}
	return atrest.Rotate(file)
}

// Status returns the keys in their order.
func (e *Encryption) Status(ctx context.Context) ([]KeyUse, error) {
	file, err := e.file()
	if err != nil {
		return nil, err
	}
	keys, err := atrest.Describe(file)
	if err != nil {
		return nil, err
	}
	uses := make([]KeyUse, len(keys))
	for i, k := range keys {
		uses[i] = KeyUse{Description: k, Values: -1}
	}
	err = e.open(ctx, func(client *clientv3.Client) error {
		for i := range uses {
			uses[i].Values = 0
		}
		return scan(ctx, client, func(key string, value []byte) error {
			at := slices.IndexFunc(uses, func(u KeyUse) bool { return u.Wrote(value) })
			if at < 0 {
				return fmt.Errorf("%s is encrypted with a key that is not in %s", key, file)
			}
			uses[at].Values++
			return nil
		})
	})
	if errors.Is(err, etcd.ErrInUse) {
		return uses, nil
	}
	return uses, err
}

// Prune removes the keys that nothing is encrypted with any more, and returns
// their IDs. What was saved before still needs them.
func (e *Encryption) Prune(ctx context.Context) (gone []atrest.ID, err error) {
	file, err := e.file()
	if err != nil {
		return nil, err
	}
	keys, err := atrest.Describe(file)
	if err != nil {
		return nil, err
	}
	err = e.open(ctx, func(client *clientv3.Client) error {
		err := scan(ctx, client, func(key string, value []byte) error {
			if i := slices.IndexFunc(keys, func(k atrest.Description) bool { return k.Wrote(value) }); i != 0 {
				return fmt.Errorf("%w: %s is encrypted with a key that is not the first in %s: start the server once, which encrypts all anew",
					ErrInUse, key, file)
			}
			return nil
		})
		if err != nil {
			return err
		}
		gone, err = atrest.Prune(file)
		return err
	})
	return gone, err
}

// file returns where the keys are.
func (e *Encryption) file() (string, error) {
	file := filepath.Join(e.DataDir, encryptionFile)
	if absent(file) {
		return "", fmt.Errorf("%s is not there: a server that was given --encryption-provider-config has its keys in that file, to be edited by hand", file)
	}
	return file, nil
}

// open runs work on the store while nobody else has it.
func (e *Encryption) open(ctx context.Context, work func(*clientv3.Client) error) error {
	if err := holdsStore(e.DataDir); err != nil {
		return err
	}
	dir, err := etcd.Open(e.DataDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	store, err := etcd.Start(ctx, dir.Join(storeDir), e.Log)
	if err != nil {
		return err
	}
	defer store.Close()
	return work(store.Client())
}

// scan visits every value that is encrypted.
func scan(ctx context.Context, client *clientv3.Client, visit func(key string, value []byte) error) error {
	from := "\x00"
	for {
		page, err := client.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithLimit(scanPage))
		if err != nil {
			return fmt.Errorf("reading the store: %w", err)
		}
		for _, kv := range page.Kvs {
			if atrest.IsEncrypted(kv.Value) {
				if err := visit(string(kv.Key), kv.Value); err != nil {
					return err
				}
			}
		}
		if !page.More {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}
