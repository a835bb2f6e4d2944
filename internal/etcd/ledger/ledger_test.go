package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const prefix = "/gatehouse/test/"

func open(t testing.TB) (*ledger.Ledger, *clientv3.Client) {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return ledger.New(e.Client(), prefix), e.Client()
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func put(t *testing.T, l *ledger.Ledger, rows ...ledger.Row) {
	t.Helper()
	if err := l.Put(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

func names(rows []ledger.Row) string {
	var all []string
	for _, r := range rows {
		all = append(all, r.Name)
	}
	return strings.Join(all, " ")
}

// pages returns the rows of all pages of a range, of which there are few.
func pages(t *testing.T, l *ledger.Ledger, r ledger.Range) []ledger.Row {
	t.Helper()
	var all []ledger.Row
	for range 50 {
		page, err := l.Page(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) > r.Most {
			t.Errorf("%d rows on a page of %d", len(page.Rows), r.Most)
		}
		all = append(all, page.Rows...)
		if r.After, r.Window, r.Revision = page.After, page.Window, page.Revision; !page.More {
			return all
		}
	}
	t.Fatalf("there is no end to %q", names(all))
	return nil
}

// A dense range is read through small windows, and a sparse one through large
// ones; nothing falls between them.
func TestWindows(t *testing.T) {
	l, _ := open(t)
	now := time.Now().Unix()
	var rows []ledger.Row
	for i := range 1500 {
		end := now + int64(i/3) // three in each second
		if i%100 == 0 {
			end = now + int64(i)*1_000_000
		}
		rows = append(rows, ledger.Row{Name: fmt.Sprintf("r%04d", i), Ends: at(end)})
	}
	for some := range slices.Chunk(rows, ledger.MaxRows) {
		put(t, l, some...)
	}
	seen := map[string]bool{}
	r := ledger.Range{Most: 10}
	asked, last := 0, time.Time{}
	for {
		page, err := l.Page(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		asked++
		for _, row := range page.Rows {
			if seen[row.Name] || row.Ends.Before(last) {
				t.Fatalf("%s is there twice, or too late", row.Name)
			}
			seen[row.Name], last = true, row.Ends
		}
		if r.After, r.Window, r.Revision = page.After, page.Window, page.Revision; !page.More {
			break
		}
	}
	if len(seen) != len(rows) || asked > 400 {
		t.Errorf("%d of %d rows, asked %d times", len(seen), len(rows), asked)
	}
}

func TestOrder(t *testing.T) {
	l, client := open(t)
	// What lies beside the ledger is none of its rows.
	for _, key := range []string{prefix + "ends", prefix + "ends0", prefix + "zzz", "/gatehouse/tess", "/gatehouse/u"} {
		if _, err := client.Put(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	put(t, l,
		ledger.Row{Name: "never", Value: []byte("n")},
		ledger.Row{Name: "late", Ends: at(math.MaxUint32 * 3), Value: []byte("l")},
		ledger.Row{Name: "b", Ends: at(100), Value: []byte("b")},
		ledger.Row{Name: "a", Ends: at(100), Value: []byte("a")},
		ledger.Row{Name: "soon", Ends: at(99)},
		ledger.Row{Name: "beyond", Ends: at(math.MaxInt64)})
	for _, tt := range []struct {
		name string
		in   ledger.Range
		want string
	}{
		{"all", ledger.Range{Most: 10}, "soon a b late beyond never"},
		{"pages", ledger.Range{Most: 2}, "soon a b late beyond never"},
		{"one by one", ledger.Range{Most: 1}, "soon a b late beyond never"},
		{"from", ledger.Range{Most: 10, From: at(100)}, "a b late beyond never"},
		{"until", ledger.Range{Most: 10, Until: at(100)}, "soon"},
		{"between", ledger.Range{Most: 1, From: at(100), Until: at(101)}, "a b"},
		{"nothing between", ledger.Range{Most: 10, From: at(101), Until: at(100)}, ""},
		{"before everything", ledger.Range{Most: 10, Until: at(1)}, ""},
		{"far away", ledger.Range{Most: 10, From: at(math.MaxUint32)}, "late beyond never"},
		{"what never ends", ledger.Range{Most: 10, From: at(math.MaxInt64)}, "never"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := names(pages(t, l, tt.in)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	var all []string
	if err := l.Each(t.Context(), func(r ledger.Row) error { all = append(all, r.Name); return nil }); err != nil || strings.Join(all, " ") != "soon a b late beyond never" {
		t.Errorf("all are %q, %v", all, err)
	}
	stop := errors.New("stop")
	if err := l.Each(t.Context(), func(ledger.Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visit that fails: %v", err)
	}
	if n, err := l.Count(t.Context()); err != nil || n != 6 {
		t.Errorf("Count = %d, %v", n, err)
	}
}

func TestPagesAreOfOneMoment(t *testing.T) {
	l, client := open(t)
	for i := range 5 {
		put(t, l, ledger.Row{Name: fmt.Sprint(i), Ends: at(100)})
	}
	first, err := l.Page(t.Context(), ledger.Range{Most: 2})
	if err != nil {
		t.Fatal(err)
	}
	put(t, l, ledger.Row{Name: "3a", Ends: at(100)})
	if n, err := l.Sweep(t.Context(), at(100)); n != 0 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	if err := l.Remove(t.Context(), []ledger.Row{{Name: "4", Ends: at(100)}}); err != nil {
		t.Fatal(err)
	}
	next := ledger.Range{After: first.After, Revision: first.Revision, Most: 10}
	if got := names(first.Rows) + "|" + names(pages(t, l, next)); got != "0 1|2 3 4" {
		t.Errorf("pages are %s", got)
	}
	if _, err := client.Compact(t.Context(), first.Revision+2); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Page(t.Context(), next); !errors.Is(err, ledger.ErrGone) {
		t.Errorf("a moment that is forgotten: %v", err)
	}
}

func TestMarks(t *testing.T) {
	l, client := open(t)
	var marks []ledger.Mark
	for i := range 100 { // more than go into one transaction
		name := fmt.Sprintf("r%03d", i)
		put(t, l, ledger.Row{Name: name, Ends: at(int64(1000 + i)), Value: []byte("v")})
		marks = append(marks, ledger.Mark{Name: name, Ends: at(int64(1000 + i)), Mark: uint32(i)})
	}
	marks = append(marks,
		ledger.Mark{Name: "stranger", Ends: at(1000), Mark: 1},
		ledger.Mark{Name: "r001", Ends: at(1000), Mark: 77}) // another end than it has
	if err := l.Mark(t.Context(), marks); err != nil {
		t.Fatal(err)
	}
	rows := pages(t, l, ledger.Range{Most: 1000})
	if len(rows) != 100 {
		t.Fatalf("%d rows: a mark makes no row", len(rows))
	}
	if err := l.Marks(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if r.Mark != uint32(i) {
			t.Errorf("row %s has mark %d", r.Name, r.Mark)
		}
	}
	if n, err := l.Count(t.Context()); err != nil || n != 100 {
		t.Errorf("Count = %d, %v: a mark makes no name", n, err)
	}
	// What is set is not written again.
	revision := func() int64 {
		got, err := client.Get(t.Context(), prefix+"name/r007")
		if err != nil {
			t.Fatal(err)
		}
		return got.Kvs[0].ModRevision
	}
	before := revision()
	if err := l.Mark(t.Context(), marks[:10]); err != nil || revision() != before {
		t.Errorf("a mark that is set was written again, %v", err)
	}
	row, ok, err := l.Get(t.Context(), "r007")
	if err != nil || !ok || row.Mark != 7 || !row.Ends.Equal(at(1007)) || string(row.Value) != "v" {
		t.Errorf("Get = %+v, %v, %v", row, ok, err)
	}
}

func TestSweep(t *testing.T) {
	l, client := open(t)
	for i := range 200 {
		put(t, l, ledger.Row{Name: fmt.Sprint(i), Ends: at(int64(i))})
	}
	put(t, l, ledger.Row{Name: "never"})
	if n, err := l.Sweep(t.Context(), at(150)); n != 150 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	left, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || left.Count != 2*51 {
		t.Errorf("%d keys are left, %v; want those of 51 rows", left.Count, err)
	}
	for name, want := range map[string]bool{"149": false, "150": true, "never": true, "": false, "x/y": false, "stranger": false} {
		if _, ok, err := l.Get(t.Context(), name); err != nil || ok != want {
			t.Errorf("Get(%q): %v, %v", name, ok, err)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	l, _ := open(t)
	many := make([]ledger.Row, ledger.MaxRows+1)
	for i := range many {
		many[i].Name = fmt.Sprint(i)
	}
	large := bytes.Repeat([]byte("x"), ledger.MaxValue+1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		rows []ledger.Row
		want string
	}{
		{"too many", t.Context(), many, "at most 64"},
		{"too large", t.Context(), []ledger.Row{{Name: "ok"}, {Name: "a", Value: large}}, "at most 65536"},
		{"no name", t.Context(), []ledger.Row{{Name: "ok"}, {}}, "no name"},
		{"two keys", t.Context(), []ledger.Row{{Name: "ok"}, {Name: "a/b"}}, "no name"},
		{"ended", ended, []ledger.Row{{Name: "ok"}}, "canceled"},
	} {
		if err := l.Put(tt.ctx, tt.rows); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if n, err := l.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d rows were written, %v", n, err)
	}
	put(t, l, many[:ledger.MaxRows]...)
	put(t, l, ledger.Row{Name: "large", Value: large[1:]})
}
