package register

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	kjson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	// scanPage is how many rows are read at once.
	scanPage = 2048
	// shownPage is how many entries that are wanted have their last use looked up
	// and are handed on together.
	shownPage = 128
)

// ErrContinue is returned by [Register.List] when what a list is to go on from is
// nothing that was handed out.
var ErrContinue = errors.New("the continue token is not one of this list")

// A Query says which entries are wanted.
type Query struct {
	// Wants says of each whether it is. Nil wants all.
	Wants func(*Entry) bool
	// Has are texts that are in the stored form of all that are wanted, so that
	// most others need not be read.
	Has [][]byte
	// From and Until bound when the credentials end: not before From, and before
	// Until. Zero is no bound. Only what is in between is looked at.
	From, Until time.Time
	// Most is how many are wanted at most, 0 for all, and Look how many are looked
	// at for that.
	Most, Look int
	// Continue is where another list has stopped, or "".
	Continue string
}

// A Listing says how a list went.
type Listing struct {
	// Revision is that of the store that the whole list is of.
	Revision int64
	// Continue is where to go on, or "" at the end.
	Continue string
}

// place is what a continue token holds.
type place struct {
	Revision int64  `json:"rv"`
	After    string `json:"after"`
}

func (p place) encode() string {
	text, _ := json.Marshal(p) // a number and a text
	return base64.RawURLEncoding.EncodeToString(text)
}

func decodePlace(text string) (place, error) {
	var p place
	if text == "" {
		return p, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return place{}, ErrContinue
	}
	strict, err := kjson.UnmarshalStrict(plain, &p)
	if err != nil || len(strict) > 0 || p.Revision <= 0 || !ledger.IsPlace(p.After) {
		return place{}, ErrContinue
	}
	return p, nil
}

// Find returns the entry of a name, or nil if there is none.
func (r *Register) Find(ctx context.Context, name string) (*Entry, error) {
	row, ok, err := r.store.Get(ctx, name)
	if err != nil || !ok {
		return nil, err
	}
	return read(&row)
}

// List calls show with the entries that a query wants, some at a time, in the
// order in which their credentials end. The entries are all of one moment, but for
// their last uses. Show may be called and List fail all the same: with
// [ledger.ErrGone] if the store has forgotten the moment.
func (r *Register) List(ctx context.Context, q Query, show func([]*Entry) error) (Listing, error) {
	from, err := decodePlace(q.Continue)
	if err != nil {
		return Listing{}, err
	}
	l := lister{Register: r, query: q, show: show, place: from}
	for done := false; !done; {
		page, err := r.store.Page(ctx, ledger.Range{
			After: l.place.After, From: q.From, Until: q.Until, Revision: l.place.Revision, Most: l.pageSize(), Window: l.window,
		})
		if err != nil {
			return Listing{}, fmt.Errorf("listing credentials: %w", err)
		}
		l.place.Revision, l.window = page.Revision, page.Window
		if done, err = l.take(ctx, &page); err != nil {
			return Listing{}, err
		}
	}
	if err := l.flush(ctx); err != nil {
		return Listing{}, err
	}
	out := Listing{Revision: l.place.Revision}
	if l.more {
		out.Continue = l.place.encode()
	}
	return out, nil
}

// A lister is the state of one list.
type lister struct {
	*Register
	query  Query
	show   func([]*Entry) error
	place  place
	window int64
	more   bool

	looked, wanted int
	// rows and entries are those that are wanted and not shown yet.
	rows    []ledger.Row
	entries []*Entry
}

func (l *lister) pageSize() int {
	if l.query.Most > 0 && l.query.Wants == nil {
		return min(l.query.Most-l.wanted+1, scanPage)
	}
	return scanPage
}

// enough reports whether no more entries are to be looked at.
func (l *lister) enough() bool {
	return l.query.Most > 0 && l.wanted >= l.query.Most || l.query.Look > 0 && l.looked >= l.query.Look
}

// take looks at a page, and reports whether the list is at its end. There is more
// of it only if there is one more entry to be looked at.
func (l *lister) take(ctx context.Context, page *ledger.Page) (bool, error) {
	for i := range page.Rows {
		row := &page.Rows[i]
		if l.enough() {
			l.more = true
			return true, nil
		}
		l.place.After = row.Place()
		l.looked++
		if slices.ContainsFunc(l.query.Has, func(has []byte) bool { return !bytes.Contains(row.Value, has) }) {
			continue
		}
		e, err := read(row)
		if err != nil {
			return false, err
		}
		if l.query.Wants == nil || l.query.Wants(e) {
			l.wanted++
			l.rows, l.entries = append(l.rows, *row), append(l.entries, e)
		}
		if len(l.rows) == shownPage {
			if err := l.flush(ctx); err != nil {
				return false, err
			}
		}
	}
	l.place.After = page.After
	return !page.More, nil
}

// flush shows what is wanted so far.
func (l *lister) flush(ctx context.Context) error {
	if len(l.rows) == 0 {
		return nil
	}
	if err := l.store.Marks(ctx, l.rows); err != nil {
		return fmt.Errorf("listing credentials: %w", err)
	}
	for i := range l.rows {
		l.entries[i].mark(l.rows[i].Mark)
	}
	shown := l.entries
	l.rows, l.entries = l.rows[:0], nil
	return l.show(shown)
}
