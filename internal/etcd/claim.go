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
	// Authorities are the fingerprints of the certificate authorities of
	// clients, Signing the IDs of the keys of service account tokens, and
	// Encryption those of the keys that encrypt at rest. The first of each is
	// the one that is used for what is new.
	Authorities []string `json:"authorities"`
	Signing     []string `json:"signing"`
	Encryption  []string `json:"encryption"`
}

// ErrForeign is returned, wrapped, by [Claim.Hold] when the process has other
// keys than the store.
var ErrForeign = errors.New("this process has other keys than the processes that wrote the store")

// Hold compares the keys of this process with those that the store was written
// with last, and leaves its own there. A process that lacks a key that another
// one uses for what is new would refuse credentials that the others accept, or
// could not read what they write: that is ErrForeign. Keys that are no longer
// the first anywhere can be left out, so that they can be rotated.
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
	for _, keys := range []struct {
		stored, ours []string
		what, mend   string
	}{
		{old.Authorities, c.Authorities, "client CA", "add it to the file of --client-ca-file"},
		{old.Signing, c.Signing, "service account key", "add it with --service-account-key-file"},
		{old.Encryption, c.Encryption, "encryption key", "add it to the file of --encryption-provider-config"},
	} {
		if len(keys.stored) > 0 && !slices.Contains(keys.ours, keys.stored[0]) {
			return fmt.Errorf("%w: %s %s is not among ours: %s", ErrForeign, keys.what, keys.stored[0], keys.mend)
		}
	}
	return nil
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
