package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
)

// fill writes until the store is full, and returns how many keys it holds.
func fill(t *testing.T, e *etcd.Embedded) int {
	t.Helper()
	for n := range 10000 {
		_, err := e.Client().Put(t.Context(), fmt.Sprintf("/k%d", n), strings.Repeat("x", 32<<10))
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the store is never full")
	return 0
}

func TestKeeperOpensAFullStoreAgain(t *testing.T) {
	e := start(t, etcd.WithQuota(16<<20))
	n := fill(t, e)
	keeper := etcd.NewKeeper(e.Client(), e, slog.New(slog.DiscardHandler))
	if s := keeper.Space(); s.String() != "" {
		t.Errorf("before the first look: %q", s)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { keeper.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()

	wait(t, "it says that the store is full", func() bool { return keeper.Space().Full })
	if text := keeper.Space().String(); !strings.Contains(text, "is full at") || !strings.Contains(text, "of 16 MiB") {
		t.Errorf("Space = %q", text)
	}
	if _, err := e.Client().Put(t.Context(), "/more", "x"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("writing to a full store: %v", err)
	}
	if _, err := e.Client().Delete(t.Context(), "/k", clientv3.WithPrefix()); err != nil {
		t.Fatalf("deleting from a full store: %v", err)
	}
	wait(t, fmt.Sprintf("it takes writes again after %d keys were deleted", n), func() bool {
		_, err := e.Client().Put(t.Context(), "/more", "x")
		return err == nil
	})
	wait(t, "it says nothing any more", func() bool { return keeper.Space().String() == "" })
}

func TestStartOpensAFullStoreAgain(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	e, err := etcd.Start(t.Context(), dir, log, etcd.WithQuota(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, e)
	e.Close()
	for _, tt := range []struct {
		name   string
		delete bool
		want   error
	}{
		{"still full", false, rpctypes.ErrNoSpace},
		{"just emptied", true, rpctypes.ErrNoSpace},
		{"emptied before", false, nil},
	} {
		e, err := etcd.Start(t.Context(), dir, log, etcd.WithQuota(16<<20))
		if err != nil {
			t.Fatal(err)
		}
		if tt.delete {
			if _, err := e.Client().Delete(t.Context(), "/k", clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Client().Put(t.Context(), "/more", "x"); !errors.Is(err, tt.want) {
			t.Errorf("%s: writing = %v, want %v", tt.name, err, tt.want)
		}
		e.Close()
	}
}

func TestSpaceSpeaksUpInTime(t *testing.T) {
	for _, tt := range []struct {
		space etcd.Space
		want  string
	}{
		{etcd.Space{}, ""},
		{etcd.Space{Allocated: 79 << 20, Quota: 100 << 20}, ""},
		{etcd.Space{Allocated: 80 << 20, Quota: 100 << 20}, "is nearly full at 80 of 100 MiB"},
		{etcd.Space{Allocated: 100 << 20, Quota: 100 << 20, Full: true}, "is full at 100 of 100 MiB"},
	} {
		if got := tt.space.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%+v = %q, want %q", tt.space, got, tt.want)
		}
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never comes to pass that %s", what)
}
