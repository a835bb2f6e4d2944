package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keys beside the prefix of the objects, so that no list of them ever meets
// these.
const (
	// ClaimKey holds the [Claim] of the store.
	ClaimKey = "/gatehouse/claim"
	// MigrationKey is there while data is being moved into the store.
	MigrationKey = "/gatehouse/migration"
)

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

// ErrUnfinished is returned, wrapped, by [Claim.Hold] when only a part of the
// data has been moved into the store.
var ErrUnfinished = errors.New("a migration into this store has begun and not ended")

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
		both, err := client.Txn(ctx).Then(clientv3.OpGet(ClaimKey), clientv3.OpGet(MigrationKey)).Commit()
		if err != nil {
			return fmt.Errorf("reading the store's claim: %w", err)
		}
		if len(both.Responses[1].GetResponseRange().Kvs) > 0 {
			return fmt.Errorf("%w: run gatehouse migrate again until it says that all is there", ErrUnfinished)
		}
		revision := int64(0)
		if stored := both.Responses[0].GetResponseRange().Kvs; len(stored) > 0 {
			if string(stored[0].Value) == string(text) {
				return nil
			}
			if err := c.covers(stored[0].Value); err != nil {
				return err
			}
			revision = stored[0].ModRevision
		}
		put, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(ClaimKey), "=", revision)).
			Then(clientv3.OpPut(ClaimKey, string(text))).Commit()
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
	old, err := ParseClaim(stored)
	if err != nil {
		return err
	}
	if missing := c.Lacks(old); len(missing) > 0 {
		m := missing[0]
		return fmt.Errorf("%w: %s %s is not among ours: %s", ErrForeign, m.What, m.ID, m.Mend)
	}
	return nil
}

// A MissingKey is one that a store needs and a process has not. The fields are
// words for people.
type MissingKey struct{ What, ID, Mend string }

// Lacks returns the keys that the owner of the store claimed in old uses for
// what is new, and that are not in c.
func (c Claim) Lacks(old Claim) []MissingKey {
	var missing []MissingKey
	for _, keys := range []struct {
		stored, ours []string
		what, mend   string
	}{
		{old.Authorities, c.Authorities, "client CA", "add it to the file of --client-ca-file"},
		{old.Signing, c.Signing, "service account key", "add it with --service-account-key-file"},
		{old.Encryption, c.Encryption, "encryption key", "add it to the file of --encryption-provider-config"},
	} {
		if len(keys.stored) > 0 && !slices.Contains(keys.ours, keys.stored[0]) {
			missing = append(missing, MissingKey{What: keys.what, ID: keys.stored[0], Mend: keys.mend})
		}
	}
	return missing
}

// ParseClaim reads what is stored at [ClaimKey].
func ParseClaim(stored []byte) (Claim, error) {
	var c Claim
	if err := json.Unmarshal(stored, &c); err != nil {
		return Claim{}, fmt.Errorf("the store's claim at %s cannot be read", ClaimKey)
	}
	return c, nil
}

// Claimed returns the claim of a store, or an empty one if it has none.
func Claimed(ctx context.Context, client *clientv3.Client) (Claim, error) {
	stored, err := client.Get(ctx, ClaimKey)
	if err != nil {
		return Claim{}, fmt.Errorf("reading the store's claim: %w", err)
	}
	if len(stored.Kvs) == 0 {
		return Claim{}, nil
	}
	return ParseClaim(stored.Kvs[0].Value)
}
