package ledger_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

func TestClaim(t *testing.T) {
	l, client := open(t)
	for _, tt := range []struct {
		name, value string
		now, ends   int64
		want        bool
		until       int64
	}{
		{"the first", "jane", 10, 100, true, 100},
		{"another", "root", 10, 200, false, 100},
		{"another, at its end", "root", 100, 200, false, 100},
		{"the same for longer", "jane", 10, 150, true, 150},
		{"the same for less", "jane", 10, 50, true, 150},
		{"another, before the later end", "root", 120, 200, false, 150},
		{"another, after the end", "root", 151, 160, true, 160},
		{"the first again, too late", "jane", 151, 300, false, 160},
	} {
		got, err := l.Claim(t.Context(), ledger.Row{Name: "key", Ends: at(tt.ends), Value: []byte(tt.value)}, at(tt.now))
		row, _, _ := l.Get(t.Context(), "key")
		if err != nil || got != tt.want || !row.Ends.Equal(at(tt.until)) {
			t.Errorf("%s: %v, %v until %v; want %v until %v", tt.name, got, err, row.Ends.Unix(), tt.want, tt.until)
		}
	}
	// A row that has moved leaves nothing where it was.
	if keys, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || keys.Count != 2 {
		t.Errorf("%d keys for one row, %v", keys.Count, err)
	}
	if n, err := l.Sweep(t.Context(), at(161)); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if got, err := l.Claim(t.Context(), ledger.Row{Name: "key", Ends: at(300), Value: []byte("joe")}, at(161)); !got || err != nil {
		t.Errorf("after the sweep: %v, %v", got, err)
	}
}

// Of many who claim one name at once, one value gets it, and all who claim that.
func TestClaimsAtOnce(t *testing.T) {
	l, _ := open(t)
	for round := range 20 {
		var got [4]atomic.Int32
		var work sync.WaitGroup
		for i := range 16 {
			work.Go(func() {
				ok, err := l.Claim(t.Context(), ledger.Row{Name: fmt.Sprint(round), Ends: at(int64(1000 + i)), Value: []byte{byte(i % 4)}}, at(1))
				if err != nil {
					t.Error(err)
				}
				if ok {
					got[i%4].Add(1)
				}
			})
		}
		work.Wait()
		winners := 0
		for i := range got {
			if n := got[i].Load(); n > 0 {
				winners++
				if n != 4 {
					t.Errorf("round %d: %d of 4 got what is theirs", round, n)
				}
			}
		}
		if winners != 1 {
			t.Errorf("round %d: %d values of one name", round, winners)
		}
	}
}

func TestNames(t *testing.T) {
	l, _ := open(t)
	for i := range 1500 { // more than are read at once
		put(t, l, ledger.Row{Name: fmt.Sprintf("a%04d", i), Ends: at(int64(i))})
	}
	put(t, l, ledger.Row{Name: "b"})
	for prefix, want := range map[string]int{"a": 1500, "a00": 100, "a0007": 1, "b": 1, "c": 0, "": 1501} {
		got, err := l.Names(t.Context(), prefix)
		seen := map[string]bool{}
		for _, name := range got {
			seen[name] = true
		}
		if err != nil || len(got) != want || len(seen) != want {
			t.Errorf("%q: %d names, %v; want %d", prefix, len(got), err, want)
		}
	}
}

// What was claimed anew since a page was read stays when the page is removed.
func TestRemovalSparesWhatIsClaimedAnew(t *testing.T) {
	l, _ := open(t)
	put(t, l, ledger.Row{Name: "moved", Ends: at(100), Value: []byte("mine")}, ledger.Row{Name: "marked", Ends: at(100)}, ledger.Row{Name: "gone", Ends: at(100)})
	if err := l.Mark(t.Context(), []ledger.Mark{{Name: "marked", Ends: at(100), Mark: 7}}); err != nil {
		t.Fatal(err)
	}
	page, err := l.Page(t.Context(), ledger.Range{Most: 10})
	if err != nil || len(page.Rows) != 3 {
		t.Fatalf("%+v, %v", page, err)
	}
	if ok, err := l.Claim(t.Context(), ledger.Row{Name: "moved", Ends: at(200), Value: []byte("mine")}, at(50)); !ok || err != nil {
		t.Fatalf("claiming it anew: %v, %v", ok, err)
	}
	if err := l.Remove(t.Context(), page.Rows); err != nil {
		t.Fatal(err)
	}
	if ok, err := l.Claim(t.Context(), ledger.Row{Name: "moved", Ends: at(200), Value: []byte("theirs")}, at(150)); ok || err != nil {
		t.Errorf("another has it: %v, %v", ok, err)
	}
	for name, want := range map[string]bool{"moved": true, "marked": false, "gone": false} {
		if _, ok, err := l.Get(t.Context(), name); ok != want || err != nil {
			t.Errorf("%s is there: %v, %v", name, ok, err)
		}
	}
	if n, err := l.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d names are left, %v", n, err)
	}
}
