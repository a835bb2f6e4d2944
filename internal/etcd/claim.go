package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// claimKey is beside the prefix of the objects, so that no list of them ever
// meets it.
const claimKey = "/gatehouse/claim"

// A Claim names the keys that a store was written with. It holds nothing that a
// key could be computed from.
type Claim struct {
	// Authority is the fingerprint of the certificate authority of clients.
	Authority string `json:"authority"`
	// Signing are the IDs of the keys of service account tokens, and Encryption
	// those of the keys that encrypt at rest. The first of each writes.
	Signing    []string `json:"signing"`
	Encryption []string `json:"encryption"`
}

// ErrForeign is returned, wrapped, by [Claim.Hold] when the process has other
// keys than the store.
var ErrForeign = errors.New("this process has other keys than the processes that wrote the store")

// Hold compares the keys of this process with those that the store was written
// with, and writes them there if it is new or if the process has more. A
// process that lacks one of the store's keys would refuse credentials that the
// others accept, or write what they cannot read: that is ErrForeign.
func (c Claim) Hold(ctx context.Context, client *clientv3.Client) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding claim: %w", err)
	}
	for {
		stored, err := client.Get(ctx, claimKey)
		if err != nil {
			return fmt.Errorf("reading the store's claim: %w", err)
		}
		revision := int64(0)
		if len(stored.Kvs) > 0 {
			if string(stored.Kvs[0].Value) == string(text) {
				return nil
			}
			if err := c.covers(stored.Kvs[0].Value); err != nil {
				return err
			}
			revision = stored.Kvs[0].ModRevision
		}
		put, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(claimKey), "=", revision)).
			Then(clientv3.OpPut(claimKey, string(text))).Commit()
		if err != nil {
			return fmt.Errorf("writing the store's claim: %w", err)
		}
		if put.Succeeded {
			return nil
		}
		// Another process was faster; its claim is judged as any other.
	}
}

func (c Claim) covers(stored []byte) error {
	var old Claim
	if err := json.Unmarshal(stored, &old); err != nil {
		return fmt.Errorf("the store's claim at %s cannot be read", claimKey)
	}
	if c.Authority != old.Authority {
		return fmt.Errorf("%w: its client CA is %s, ours is %s: give every process the same --client-ca-file", ErrForeign, old.Authority, c.Authority)
	}
	if id := missing(old.Signing, c.Signing); id != "" {
		return fmt.Errorf("%w: service account key %s is not among ours: add it with --service-account-key-file", ErrForeign, id)
	}
	if id := missing(old.Encryption, c.Encryption); id != "" {
		return fmt.Errorf("%w: encryption key %s is not among ours: add it to the file of --encryption-provider-config", ErrForeign, id)
	}
	return nil
}

// missing returns the first of want that have lacks, or "".
func missing(want, have []string) string {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return w
		}
	}
	return ""
}

// Claimed returns the claim of a store, or an empty one if it has none.
func Claimed(ctx context.Context, client *clientv3.Client) (Claim, error) {
	stored, err := client.Get(ctx, claimKey)
	if err != nil {
		return Claim{}, fmt.Errorf("reading the store's claim: %w", err)
	}
	var c Claim
	if len(stored.Kvs) > 0 {
		if err := json.Unmarshal(stored.Kvs[0].Value, &c); err != nil {
			return Claim{}, fmt.Errorf("the store's claim at %s cannot be read", claimKey)
		}
	}
	return c, nil
}
