package register_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

// once runs a keeper until it has looked at everything.
func once(t *testing.T, store, index register.Sweepable, stands func(*register.Entry) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := &register.Keeper{Store: &ending{store, cancel}, Serials: index, Keys: index, Log: quiet(), Stands: func(_ context.Context, e *register.Entry) (bool, error) { return stands(e) }}
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// ending ends a keeper after its first round.
type ending struct {
	register.Sweepable
	end func()
}

func (e *ending) Each(ctx context.Context, visit func(ledger.Row) error) error {
	defer e.end()
	return e.Sweepable.Each(ctx, visit)
}

func TestKeeper(t *testing.T) {
	r, rows, _ := inStore(t)
	ago := func(n int, d time.Duration) *register.Entry {
		e := token(n)
		e.Expires = time.Now().Add(-d)
		return e
	}
	held, gone, fresh, broken := population()[4], population()[4], population()[4], population()[4]
	for i, e := range []*register.Entry{held, gone, fresh, broken} {
		e.Digest = fmt.Sprintf("%064x", i)
		e.Issued = time.Now().Add(-2 * time.Hour)
	}
	fresh.Issued = time.Now()
	// Of an account that is gone, and asked for so long ago.
	issued := func(n int, d time.Duration) *register.Entry {
		e := ago(n, -time.Hour)
		e.UID, e.Issued = "gone", time.Now().Add(-d)
		return e
	}
	record(t, r, ago(1, 25*time.Hour), ago(2, 23*time.Hour), ago(3, -time.Hour), held, gone, fresh, issued(4, 25*time.Hour), issued(5, 23*time.Hour))
	once(t, rows, rows, func(e *register.Entry) (bool, error) {
		return e.Digest == held.Digest || e.Method == identity.ServiceAccount && e.UID != "gone", nil
	})
	for _, tt := range []struct {
		e    *register.Entry
		want bool
	}{{token(1), false}, {token(2), true}, {token(3), true}, {held, true}, {gone, false}, {fresh, true}, {token(4), false}, {token(5), true}} {
		if e, err := r.Find(t.Context(), tt.e.Name()); err != nil || (e != nil) != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.e.Name(), e, err, tt.want)
		}
	}
	// Where it cannot be told, nothing goes.
	record(t, r, broken)
	once(t, rows, rows, func(*register.Entry) (bool, error) { return false, fmt.Errorf("no answer") })
	if e, err := r.Find(t.Context(), broken.Name()); e == nil {
		t.Errorf("gone without an answer, %v", err)
	}
}

// full says that there are very many rows.
type full struct{ register.Sweepable }

func (full) Count(context.Context) (int64, error) { return register.MaxEntries, nil }

func TestFullRegisterKeepsNothingThatHasEnded(t *testing.T) {
	r, rows, _ := inStore(t)
	ended, lives, gone := token(1), token(2), token(3)
	ended.Expires, lives.Expires, gone.Expires = time.Now().Add(-time.Minute), time.Now().Add(time.Minute), time.Now().Add(time.Hour)
	gone.UID, gone.Issued = "gone", time.Now().Add(-2*time.Hour)
	record(t, r, ended, lives, gone)
	once(t, full{rows}, rows, func(e *register.Entry) (bool, error) { return e.UID != "gone", nil })
	if n, err := rows.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
	if e, err := r.Find(t.Context(), lives.Name()); e == nil {
		t.Errorf("what lives is gone, %v", err)
	}
}
