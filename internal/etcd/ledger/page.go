package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// firstWindow is what a range is first looked at through, in seconds, and recent
	// how long ago rows may have ended of which there are many: those before are
	// swept.
	firstWindow = 60
	recent      = 25 * time.Hour
	// wider is by how much a window grows in which there is little.
	wider = 8
	// whole is a window for everything.
	whole = afterAll
)

// A Range says which rows a page is of.
type Range struct {
	// After is where the page before has ended, or "".
	After string
	// From and Until bound when the rows end: not before From, and before Until.
	// Zero is no bound.
	From, Until time.Time
	// Revision is that of the first page, or 0 for the present.
	Revision int64
	// Most is how many rows there are on the page at most.
	Most int
	// Window is that of the page before, in seconds, or 0. A page is only looked for in a part
	// of the range: etcd counts all that there is in a range each time, and would
	// count the rest of a large one once for every page.
	Window int64
}

// A Page is a part of the ledger, in the order in which the rows end. The marks
// are not set; see [Ledger.Marks].
type Page struct {
	// Rows may be none although there are more.
	Rows []Row
	// More is set unless the range ends here.
	More bool
	// After and Window are those of the next page.
	After    string
	Window   int64
	Revision int64
}

// Page returns the first rows of a range, or some of them.
func (l *Ledger) Page(ctx context.Context, r Range) (Page, error) {
	place := max(encodeFirst(r.From), r.After)
	begin := l.prefix + rows + place
	if r.After != "" && place == r.After {
		begin += "\x00"
	}
	end := clientv3.GetPrefixRangeEnd(l.prefix + rows)
	if !r.Until.IsZero() {
		end = l.prefix + rows + encodeEnd(r.Until)
	}
	if begin >= end {
		return Page{Revision: r.Revision}, nil
	}
	window, next := r.Window, ""
	if window <= 0 {
		window = firstWindow
	}
	if next = windowEnd(place, window); next == "" || l.prefix+rows+next >= end {
		next = ""
	} else {
		end = l.prefix + rows + next
	}
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(r.Most))}
	if r.Revision > 0 {
		options = append(options, clientv3.WithRev(r.Revision))
	}
	got, err := l.client.Get(ctx, begin, options...)
	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) { // or never been, in this store
		return Page{}, fmt.Errorf("%w: revision %d", ErrGone, r.Revision)
	}
	if err != nil {
		return Page{}, fmt.Errorf("reading rows: %w", err)
	}
	page := Page{More: got.More || next != "", After: next, Window: fit(window, got.Count, r.Most), Revision: got.Header.Revision}
	if r.Revision > 0 {
		page.Revision = r.Revision
	}
	page.Rows = make([]Row, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		row, err := l.row(kv)
		if err != nil {
			return Page{}, err
		}
		page.Rows = append(page.Rows, row)
	}
	if n := len(page.Rows); n > 0 && (got.More || next == "") {
		page.After = page.Rows[n-1].Place()
	}
	return page, nil
}

// IsPlace reports whether a text is one that [Page.After] may be: the time at
// which rows end, and after a slash the name of one.
func IsPlace(text string) bool {
	end, name, _ := strings.Cut(text, "/")
	_, err := decodeEnd(end)
	return err == nil && !strings.Contains(name, "/")
}

// windowEnd returns the place at which a window ends that begins at another one,
// or "" if it has no end.
func windowEnd(place string, window int64) string {
	first, err := strconv.ParseInt(place[:len(never)], 16, 64)
	if err != nil || place[:len(never)] == never {
		return ""
	}
	last := max(first+window, time.Now().Add(-recent).Unix())
	if last >= afterAll {
		return never
	}
	return encodeFirst(time.Unix(last, 0))
}

// fit returns a window in which there should be a page or two, after one in which
// there were so many.
func fit(window, count int64, most int) int64 {
	switch wanted := 2 * int64(most); {
	case count > 2*wanted:
		return max(int64(float64(window)*float64(wanted)/float64(count)), 1)
	case count < max(wanted/4, 1) && window < whole:
		return min(window*wider, whole)
	default:
		return window
	}
}

// Names returns the names of the rows that begin with a text.
func (l *Ledger) Names(ctx context.Context, prefix string) ([]string, error) {
	const most = 1000
	begin, end := l.prefix+names+prefix, clientv3.GetPrefixRangeEnd(l.prefix+names+prefix)
	var all []string
	for {
		got, err := l.client.Get(ctx, begin, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(most))
		if err != nil {
			return nil, fmt.Errorf("reading the names that begin with %s: %w", prefix, err)
		}
		for _, kv := range got.Kvs {
			all = append(all, strings.TrimPrefix(string(kv.Key), l.prefix+names))
		}
		if !got.More {
			return all, nil
		}
		begin = l.prefix + names + all[len(all)-1] + "\x00"
	}
}
