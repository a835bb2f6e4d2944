package explain

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// What is recorded at most of a topic. With a record of 2 KiB, and few have more,
// one process has some 16 MiB of each in the store when everybody is refused all
// the time.
const (
	peerEvery, peerBurst   = 2 * time.Second, 60
	totalEvery, totalBurst = time.Second / 2, 600
	// flushEvery is how soon a record is found by the other processes.
	flushEvery = time.Second / 4
	// flushTimeout gives up a write to a store that does not answer.
	flushTimeout = 5 * time.Second
	// maxPending is how many records wait for the store.
	maxPending = int(topics) * totalBurst
)

// A Store keeps small values for a while, where all processes find them.
type Store interface {
	// Life is for how long.
	Life() time.Duration
	// Put writes values by their keys.
	Put(ctx context.Context, values map[string][]byte) error
	// Get returns the values of those of the keys that are there.
	Get(ctx context.Context, keys ...string) (map[string][]byte, error)
	// Below returns the first keys that begin with prefix, at most so many, with
	// their values, and how many there are.
	Below(ctx context.Context, prefix string, most int) (keys []string, values [][]byte, all int, err error)
}

// A Book records what was refused. Use [NewBook]. Its methods may be called at
// the same time.
type Book struct {
	server string
	store  Store
	log    *slog.Logger

	mu      sync.Mutex
	shares  [topics]share
	pending map[string]*Request // by ID
	// lost is what was left out, by the minute in Unix seconds: all of this
	// minute, and what the store does not know of those before.
	lost map[int64]*Lost
	// untold is set if the store does not know all of it.
	untold bool
}

// NewBook returns an empty book of the process that calls itself server, which
// no other process does.
func NewBook(server string, store Store, log *slog.Logger) *Book {
	b := &Book{server: server, store: store, log: log, pending: map[string]*Request{}, lost: map[int64]*Lost{}}
	for i := range b.shares {
		b.shares[i].peers = peers{}
	}
	return b
}

// NewID returns an ID that nobody can guess: 128 bits in base32.
func (b *Book) NewID() string { return strings.ToLower(rand.Text()) }

// Refused records that the credential of r was refused. Ladder returns what was
// said of it, and is called only if there is room.
func (b *Book) Refused(id, auditID string, r *http.Request, status int, ladder func() []authn.Rung) {
	if record := b.begin(requests, id, auditID, r); record != nil {
		record.Code, record.Ladder = status, ladderOf(ladder())
		b.add(record)
	}
}

// Denied records that the caller may not do what r asks for.
func (b *Book) Denied(id, auditID string, r *http.Request, why Denial) {
	record := b.begin(requests, id, auditID, r)
	if record == nil {
		return
	}
	record.Code, record.Ladder = http.StatusForbidden, ladderOf(why.Ladder)
	for i, l := range why.Lacking {
		if i == 0 {
			deny(record, l.Asked, l.Reason, nil)
			continue
		}
		record.Authorization.Instead = append(record.Authorization.Instead,
			Authorization{Asked: askedOf(l.Asked), Reason: cut(l.Reason, maxPath)})
	}
	b.add(record)
}

// Misread records that the headers of r do not say whom its caller acts as.
// Ladder returns why, and is called only if there is room.
func (b *Book) Misread(id, auditID string, r *http.Request, caller *identity.Identity, ladder func() []authn.Rung) {
	if record := b.begin(requests, id, auditID, r); record != nil {
		record.Code, record.User, record.Ladder = http.StatusBadRequest, userOf(caller), ladderOf(ladder())
		b.add(record)
	}
}

// NotAuthenticated records that the token that r asks about was not found good,
// with the status of the answer, and whose it is if that is known. It returns the
// ID of the record, which is "" if there is no room. Ladder returns what was said
// of the token.
func (b *Book) NotAuthenticated(auditID string, r *http.Request, status int, review *Review, whose *identity.Identity, ladder func() []authn.Rung) string {
	record := b.begin(tokens, "", auditID, r)
	if record == nil {
		return ""
	}
	record.Code, record.Review = status, boundedReview(review)
	record.User, record.Ladder = userOf(whose), ladderOf(ladder())
	b.add(record)
	return record.ID
}

// NotAllowed is the same for what somebody may not do, or what could not be
// decided because of err.
func (b *Book) NotAllowed(auditID string, r *http.Request, review *Review, a *authz.Attributes, reason string, err error) string {
	record := b.begin(accesses, "", auditID, r)
	if record == nil {
		return ""
	}
	record.Code, record.Review = http.StatusCreated, boundedReview(review)
	deny(record, a, reason, err)
	b.add(record)
	return record.ID
}

// begin returns the record of a request about a topic, with an ID if it has none
// yet, or nil if there is no room for it.
func (b *Book) begin(about topic, id, auditID string, r *http.Request) *Request {
	peer := authn.PeerFrom(r.Context())
	if !b.room(about, peer) {
		return nil
	}
	if id == "" {
		id = b.NewID()
	}
	now := metav1.NowMicro()
	record := &Request{
		ID: id, AuditID: cut(auditID, maxName), Time: &now, Server: b.server, Peer: "unknown",
		// The query is left out: people put tokens there.
		Method: cut(r.Method, maxName), Path: cut(r.URL.Path, maxPath),
	}
	if peer.IsValid() {
		record.Peer = peer.String()
	}
	return record
}

// room reports whether one more record about a topic is made of a peer, and
// counts it if not.
func (b *Book) room(about topic, peer netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, share := time.Now(), &b.shares[about]
	switch {
	case !share.peers.take(peer, now):
		b.lose(now, Lost{PeerLimit: 1})
	case len(b.pending) >= maxPending || !share.total.take(now, totalEvery, totalBurst):
		b.lose(now, Lost{TotalLimit: 1})
	default:
		return true
	}
	return false
}

// lose counts what is left out.
func (b *Book) lose(now time.Time, some Lost) {
	minute := now.Truncate(time.Minute).Unix()
	if b.lost[minute] == nil {
		b.lost[minute] = &Lost{}
	}
	addLost(b.lost[minute], &some)
	b.untold = true
}

func (b *Book) add(record *Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending[record.ID] = record
}

// Run writes the records into the store until ctx is done, and then the last
// ones.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.flush(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			b.flush(ctx)
		}
	}
}

// flush writes what is pending. What the store does not take is lost, and
// counted: a store that does not answer has other things to do.
func (b *Book) flush(ctx context.Context) {
	told := time.Now().Truncate(time.Minute).Unix()
	values, records := b.due()
	if len(values) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := b.store.Put(ctx, values)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range records {
		delete(b.pending, r.ID)
	}
	now := time.Now()
	for minute := range b.lost {
		if time.Unix(minute, 0).Before(now.Add(-b.store.Life())) || err == nil && minute < told {
			delete(b.lost, minute)
		}
	}
	if err != nil {
		b.untold = true
		if len(records) > 0 {
			b.lose(now, Lost{Store: int64(len(records))})
		}
		b.log.WarnContext(ctx, "records of refused requests are lost", "err", err, "records", len(records))
	}
}

// due returns what is to be written, by key.
func (b *Book) due() (map[string][]byte, []*Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	values := map[string][]byte{}
	var records []*Request
	for _, r := range b.pending {
		records = append(records, r)
		text := encode(r)
		if text == nil {
			b.lose(time.Now(), Lost{Store: 1})
			continue
		}
		values[byID(r.ID)] = text
		values[byAuditID(r)] = nil
	}
	if b.untold {
		b.untold = false
		for minute, lost := range b.lost {
			if text, err := json.Marshal(lost); err == nil {
				values[fmt.Sprintf("%s%s/%d", lostPrefix, b.server, minute)] = text
			}
		}
	}
	return values, records
}

// Keys of the store. A record is found by its ID; and by its audit ID and peer,
// so that what one peer has written never stands in the way of another's.
const (
	idPrefix    = "id/"
	auditPrefix = "audit/"
	lostPrefix  = "lost/"
)

func byID(id string) string { return idPrefix + id }

func byAuditID(r *Request) string {
	return fmt.Sprintf("%s%s/%s/%016x-%s", auditPrefix, r.AuditID, r.Peer, r.Time.UnixNano(), r.ID)
}

// encode returns a record as it is kept, shortened if it is too large, or nil if
// it is too large however short.
func encode(r *Request) []byte {
	text, err := json.Marshal(r)
	if err == nil && len(text) <= maxRecord {
		return text
	}
	short := *r
	short.Ladder = make([]Rung, 0, len(r.Ladder))
	for _, rung := range r.Ladder {
		if rung.Found == string(authn.Passed) {
			rung.Checks = nil
		}
		rung.Reason, rung.Mend = cut(rung.Reason, 200), cut(rung.Mend, 200)
		rung.Checks = slices.Clone(rung.Checks) // those of r stay
		for i := range rung.Checks {
			c := &rung.Checks[i]
			c.Got, c.Want = cut(c.Got, 100), cut(c.Want, 100)
		}
		short.Ladder = append(short.Ladder, rung)
	}
	if text, err = json.Marshal(&short); err == nil && len(text) <= maxRecord {
		return text
	}
	short.Ladder = short.Ladder[:min(len(short.Ladder), 8)]
	if short.User != nil {
		user := *short.User
		user.MoreGroups, user.Groups = user.MoreGroups+len(user.Groups), nil
		short.User = &user
	}
	for i := range short.Ladder {
		short.Ladder[i].Checks = nil
	}
	if short.Review != nil {
		review := *short.Review
		review.Audiences = nil
		short.Review = &review
	}
	if short.Authorization != nil {
		decision := *short.Authorization
		decision.Reason, decision.Error, decision.Nearest, decision.Instead = cut(decision.Reason, 200), cut(decision.Error, 200), nil, nil
		short.Authorization = &decision
	}
	if text, err = json.Marshal(&short); err != nil || len(text) > maxRecord {
		return nil // hardly: JSON writes some characters as six
	}
	return text
}

// cut shortens a text to so many bytes, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "..."
}
