// Package crl keeps the list of revoked certificates of an authority of ours
// (RFC 5280 section 5).
//
// The one idea: what has been on a list is written down apart from the
// Revocations that put it there. Deleting a Revocation lets its holder in again
// at our door; those who read lists may have acted on theirs, so that for them
// only what was on hold is ever released. A list is signed when that record has
// changed or the list is getting old, by one process for all that share the
// store.
//
// The number of a list is made of the time: it grows even if the store is one
// that was restored and knows nothing of the lists signed since.
package crl

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/etcd/volume"
)

const (
	// Lifetime is how long a list is good. It is replaced after half of that.
	Lifetime = 24 * time.Hour
	// Hold is the reason certificateHold (RFC 5280 section 5.3.1), the only one
	// that is ever lifted.
	Hold = 6

	pageSize = 1000
	// headLife is for how long it is believed which list is in force.
	headLife = 250 * time.Millisecond
)

// ErrNone is returned, wrapped, where no list has been signed yet.
var ErrNone = errors.New("no list of revoked certificates has been signed yet")

// A Revoked is a certificate that ended before its time.
type Revoked struct {
	Serial *big.Int
	At     time.Time
	// Reason is a CRLReason.
	Reason int
	// Ends is when the certificate would have ended anyway, or zero if that is
	// not known.
	Ends time.Time
}

// An Authority signs its lists.
type Authority interface {
	Certificate() *x509.Certificate
	RevocationList(number *big.Int, entries []x509.RevocationListEntry, from, until time.Time) ([]byte, error)
}

// Rows keep the record, as [ledger.Ledger] does.
type Rows interface {
	Put(ctx context.Context, rows []ledger.Row) error
	Get(ctx context.Context, name string) (ledger.Row, bool, error)
	Page(ctx context.Context, r ledger.Range) (ledger.Page, error)
	Remove(ctx context.Context, rows []ledger.Row) error
}

// Editions keep the list itself, as [volume.Volume] does.
type Editions interface {
	Head(ctx context.Context) (volume.Head, error)
	Read(ctx context.Context, h volume.Head) ([]byte, error)
	Write(ctx context.Context, after volume.Head, number *big.Int, note string, value []byte) (volume.Head, error)
}

// A List is that of one authority. Use [New]. Its methods may be called at the
// same time.
type List struct {
	authority Authority
	rows      Rows
	editions  Editions

	mu sync.Mutex
	// head is what was in force when it was asked for.
	head  volume.Head
	asked time.Time
	// der is the list of the number of.
	der []byte
	of  *big.Int
}

// New returns the list of an authority.
func New(authority Authority, rows Rows, editions Editions) *List {
	return &List{authority: authority, rows: rows, editions: editions}
}

// record is the value of a row.
type record struct {
	At     int64 `json:"t"`
	Reason int   `json:"r"`
}

// note is what is written on an edition: what it was made of, and until when it
// is good.
type note struct {
	Rows  string `json:"rows"`
	Until int64  `json:"until"`
}

// Keep writes down what is revoked now, releases what was on hold and is not
// revoked any more, and signs a list if the one in force says something else or
// is getting old. It reports whether the record has changed.
func (l *List) Keep(ctx context.Context, revoked []Revoked, now time.Time) (changed bool, err error) {
	rows, err := l.read(ctx)
	if err != nil {
		return false, err
	}
	put, remove := l.differences(rows, revoked, now)
	for some := range slices.Chunk(put, ledger.MaxRows) {
		if err := l.rows.Put(ctx, some); err != nil {
			return false, err
		}
	}
	if err := l.rows.Remove(ctx, remove); err != nil {
		return false, err
	}
	changed = len(put)+len(remove) > 0
	if changed {
		if rows, err = l.read(ctx); err != nil {
			return changed, err
		}
	}
	return changed, l.publish(ctx, rows, now)
}

// read returns the record, by name.
func (l *List) read(ctx context.Context) (map[string]ledger.Row, error) {
	all := map[string]ledger.Row{}
	in := ledger.Range{Most: pageSize}
	for {
		page, err := l.rows.Page(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("reading which certificates are revoked: %w", err)
		}
		for _, row := range page.Rows {
			all[row.Name] = row
		}
		if !page.More {
			return all, nil
		}
		in.After, in.Window, in.Revision = page.After, page.Window, page.Revision
	}
}

// differences returns the rows to write and those to remove, so that the record
// follows what is revoked.
func (l *List) differences(rows map[string]ledger.Row, revoked []Revoked, now time.Time) (put, remove []ledger.Row) {
	want := strongest(revoked)
	for name, r := range want {
		if l.over(l.ends(r), now) {
			continue
		}
		row := ledger.Row{Name: name, Ends: l.ends(r), Value: encode(record{r.At.Unix(), r.Reason})}
		if have, ok := rows[name]; ok {
			if decode(have.Value).Reason != Hold || r.Reason == Hold {
				continue
			}
			row.Ends = have.Ends
		}
		put = append(put, row)
	}
	for name, row := range rows {
		_, wanted := want[name]
		if l.over(row.Ends, now) || !wanted && decode(row.Value).Reason == Hold {
			remove = append(remove, row)
		}
	}
	return put, remove
}

// over reports whether a certificate that ended at a time is on no list any more:
// one is signed after its end that still has it (RFC 5280 section 5).
func (l *List) over(end, now time.Time) bool { return end.Add(2 * Lifetime).Before(now) }

// strongest returns one of the Revocations of each certificate: one that is
// never lifted, if there is one, and the earliest of those.
func strongest(revoked []Revoked) map[string]Revoked {
	all := make(map[string]Revoked, len(revoked))
	for _, r := range revoked {
		name := nameOf(r.Serial)
		have, ok := all[name]
		if !ok || have.Reason == Hold && r.Reason != Hold || (have.Reason == Hold) == (r.Reason == Hold) && r.At.Before(have.At) {
			all[name] = r
		}
	}
	return all
}

// ends returns when a certificate ends, at the latest with its authority.
func (l *List) ends(r Revoked) time.Time {
	last := l.authority.Certificate().NotAfter
	if r.Ends.IsZero() || r.Ends.After(last) {
		return last
	}
	return r.Ends
}

// publish signs a list of rows, unless the one in force has them and is young.
func (l *List) publish(ctx context.Context, rows map[string]ledger.Row, now time.Time) error {
	entries, digest := entriesOf(rows)
	head, err := l.editions.Head(ctx)
	if err != nil {
		return err
	}
	var had note
	if head.Number != nil {
		if err := json.Unmarshal([]byte(head.Note), &had); err != nil {
			return fmt.Errorf("reading the note on list %s: %w", head.Number, err)
		}
	}
	if had.Rows == digest && now.Before(time.Unix(had.Until, 0).Add(-Lifetime/2)) {
		return nil
	}
	until := now.Add(Lifetime)
	if last := l.authority.Certificate().NotAfter; until.After(last) {
		until = last
	}
	number, err := nextNumber(head.Number, now)
	if err != nil {
		return err
	}
	der, err := l.authority.RevocationList(number, entries, now, until)
	if err != nil {
		return err
	}
	text, err := json.Marshal(note{digest, until.Unix()})
	if err != nil {
		return err
	}
	_, err = l.editions.Write(ctx, head, number, string(text), der)
	if errors.Is(err, volume.ErrLate) {
		return fmt.Errorf("another process has signed a list meanwhile: %w", err)
	}
	return err
}

// nextNumber returns a number that is greater than that of the list before, and
// than those of every list that was signed before now.
func nextNumber(before *big.Int, now time.Time) (*big.Int, error) {
	// The nanosecond, and 32 random bits: no two processes take one number.
	const bits = 32
	number := new(big.Int).Lsh(big.NewInt(now.UnixNano()), bits)
	low, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		return nil, fmt.Errorf("choosing the number of a list: %w", err)
	}
	number.Add(number, low)
	if before != nil && number.Cmp(before) <= 0 {
		number.Add(before, low.Add(low, big.NewInt(1)))
	}
	return number, nil
}

// entriesOf returns the entries of a list in the order of their serial numbers,
// and a digest of what they say.
func entriesOf(rows map[string]ledger.Row) ([]x509.RevocationListEntry, string) {
	entries := make([]x509.RevocationListEntry, 0, len(rows))
	for name, row := range rows {
		serial, ok := new(big.Int).SetString(name, 16)
		if !ok {
			continue // is not written here
		}
		r := decode(row.Value)
		entries = append(entries, x509.RevocationListEntry{
			SerialNumber: serial, RevocationTime: time.Unix(r.At, 0).UTC(), ReasonCode: r.Reason,
		})
	}
	slices.SortFunc(entries, func(a, b x509.RevocationListEntry) int {
		return cmp.Or(a.SerialNumber.Cmp(b.SerialNumber), a.RevocationTime.Compare(b.RevocationTime))
	})
	sum := sha256.New()
	for _, e := range entries {
		fmt.Fprintf(sum, "%x %d %d\n", e.SerialNumber, e.RevocationTime.Unix(), e.ReasonCode)
	}
	return entries, base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// Status returns when and why a certificate was revoked, and whether it was.
func (l *List) Status(ctx context.Context, serial *big.Int) (at time.Time, reason int, revoked bool, err error) {
	row, ok, err := l.rows.Get(ctx, nameOf(serial))
	if err != nil || !ok {
		return time.Time{}, 0, false, err
	}
	r := decode(row.Value)
	return time.Unix(r.At, 0).UTC(), r.Reason, true, nil
}

// current returns the head of the list in force, as it was not long ago. The
// store is not asked for every reader: anybody may read.
func (l *List) current(ctx context.Context) (volume.Head, error) {
	now := time.Now()
	l.mu.Lock()
	head, asked := l.head, l.asked
	l.mu.Unlock()
	if now.Sub(asked) < headLife {
		return head, nil
	}
	head, err := l.editions.Head(ctx)
	if err != nil {
		return volume.Head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head, l.asked = head, now
	return head, nil
}

// Edition returns the number of the list in force, or "" before the first. It may
// be that of a quarter of a second ago.
func (l *List) Edition(ctx context.Context) (string, error) {
	head, err := l.current(ctx)
	if err != nil || head.Number == nil {
		return "", err
	}
	return head.Number.Text(16), nil
}

// DER returns the list in force, or that of a quarter of a second ago, and its
// number. Whoever reads it must not change it. There is none until [List.Keep]
// has signed one: then the error wraps [ErrNone].
func (l *List) DER(ctx context.Context) ([]byte, *big.Int, error) {
	head, err := l.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	if head.Number == nil {
		return nil, nil, ErrNone
	}
	l.mu.Lock()
	der, of := l.der, l.of
	l.mu.Unlock()
	if of != nil && of.Cmp(head.Number) == 0 {
		return der, of, nil
	}
	if der, err = l.editions.Read(ctx, head); err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.der, l.of = der, head.Number
	return der, head.Number, nil
}

// nameOf returns the name of a certificate's row.
func nameOf(serial *big.Int) string { return serial.Text(16) }

func encode(r record) []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic("internal error: two numbers cannot be written as JSON: " + err.Error())
	}
	return text
}

// decode reads a record. One that cannot be read counts as never to be lifted.
func decode(value []byte) record {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}
	}
	return r
}

// ParseSerial reads a serial number in hexadecimal.
func ParseSerial(text string) (*big.Int, bool) {
	if text == "" || strings.Trim(text, "0123456789abcdefABCDEF") != "" {
		return nil, false
	}
	serial, ok := new(big.Int).SetString(text, 16)
	return serial, ok && serial.Sign() > 0
}
