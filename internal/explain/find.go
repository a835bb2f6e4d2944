package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxFound is how many requests of one audit ID are shown, and
	// maxFoundOfPeer how many of them are of one peer.
	maxFound, maxFoundOfPeer = 64, 8
	// maxKeys is how many keys are looked at for that: more than there can be of
	// a few processes, at some hundred bytes each.
	maxKeys = 50_000
	// maxLost is how many counts of what was left out are added up: one for each
	// minute and process.
	maxLost = 10_000
)

// find returns the records of an ID or an audit ID, the newest first, and how
// many there are besides.
func (b *Book) find(ctx context.Context, name string) (found []Request, more int, err error) {
	if r := b.waiting(name); r != nil {
		return []Request{*r}, 0, nil
	}
	one, err := b.store.Get(ctx, byID(name))
	if err != nil {
		return nil, 0, err
	}
	ids, more, err := b.idsOf(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = byID(id)
	}
	all, err := b.store.Get(ctx, keys...)
	if err != nil {
		return nil, 0, err
	}
	for key, text := range one {
		all[key] = text
	}
	found = b.waitingOf(name)
	for _, text := range all {
		var r Request
		if json.Unmarshal(text, &r) == nil && !slices.ContainsFunc(found, func(f Request) bool { return f.ID == r.ID }) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b Request) int { return b.Time.Compare(a.Time.Time) })
	return found, more, nil
}

// idsOf returns the IDs of the records of an audit ID: the newest of each peer,
// in turn, so that a peer with many hides none of another's.
func (b *Book) idsOf(ctx context.Context, auditID string) (ids []string, more int, err error) {
	prefix := auditPrefix + auditID + "/"
	keys, _, all, err := b.store.Below(ctx, prefix, maxKeys)
	if err != nil {
		return nil, 0, err
	}
	byPeer := map[string][]string{} // the newest last, as the keys are
	for _, key := range keys {
		peer, entry, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		if _, id, ok := strings.Cut(entry, "-"); ok {
			byPeer[peer] = append(byPeer[peer], id)
		}
	}
	for round := 1; round <= maxFoundOfPeer && len(ids) < maxFound; round++ {
		for _, of := range byPeer {
			if at := len(of) - round; at >= 0 && len(ids) < maxFound {
				ids = append(ids, of[at])
			}
		}
	}
	return ids, all - len(ids), nil
}

// waiting returns the record of an ID that is not in the store yet.
func (b *Book) waiting(id string) *Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending[id]
}

func (b *Book) waitingOf(auditID string) []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []Request
	for _, r := range b.pending {
		if r.AuditID == auditID {
			found = append(found, *r)
		}
	}
	return found
}

// left returns what is not recorded of the time that records are kept for.
func (b *Book) left(ctx context.Context) (Lost, error) {
	_, values, _, err := b.store.Below(ctx, lostPrefix, maxLost)
	if err != nil {
		return Lost{}, err
	}
	var sum Lost
	for _, text := range values {
		var some Lost
		if json.Unmarshal(text, &some) == nil {
			addLost(&sum, &some)
		}
	}
	return sum, nil
}

// absence says what it means that there is no record.
func absence(name string, lost Lost, life time.Duration) string {
	const usual = "records are kept for %s, and only of requests that were answered with 401 or 403, with 503, or 429 to a review, because nobody could look at the credential, or with 400 because of headers of impersonation, and of reviews that said no"
	if allLost(&lost) == 0 {
		return fmt.Sprintf("there is no record of %q: "+usual+"; in that time none was left out", name, life)
	}
	return fmt.Sprintf("there is no record of %q, which may have been dropped: "+usual+
		"; in that time %d were not recorded, %d because their peer had too many, %d because there were too many of all, %d because the store did not take them",
		name, life, allLost(&lost), lost.PeerLimit, lost.TotalLimit, lost.Store)
}
