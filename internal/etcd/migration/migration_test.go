package migration_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/migration"
)

// sourceKeys is how many keys there are to copy: more than fit into one write.
const sourceKeys = 250

func store(t *testing.T) *clientv3.Client {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e.Client()
}

func put(t *testing.T, c *clientv3.Client, key, value string, opts ...clientv3.OpOption) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value, opts...); err != nil {
		t.Fatal(err)
	}
}

func claim() etcd.Claim {
	return etcd.Claim{Authorities: []string{"ca"}, Signing: []string{"s1"}, Encryption: []string{"e1"}}
}

func source(t *testing.T) *clientv3.Client {
	c := store(t)
	if err := claim().Hold(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for i := range sourceKeys - 2 {
		put(t, c, fmt.Sprintf("/registry/configmaps/%d", i), "v")
	}
	put(t, c, "/registry/secrets/large", strings.Repeat("x", 1<<20))
	put(t, c, "/gatehouse/own", "o")
	lease, err := c.Grant(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "/registry/events/soon-gone", "e", clientv3.WithLease(lease.ID))
	put(t, c, "/registry2/of-somebody-else", "x")
	put(t, c, "compact_rev_key", "7")
	return c
}

func count(t *testing.T, c *clientv3.Client) int64 {
	t.Helper()
	all, err := c.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return all.Count
}

func TestRun(t *testing.T) {
	m := &migration.Migration{From: source(t), To: store(t), Prefix: "/registry"}
	var told []int
	m.Progress = func(done, total int) { told = append(told, done, total) }
	got, err := m.Run(t.Context())
	if err != nil || got.Keys != sourceKeys || got.Left != 1 {
		t.Fatalf("Run = %+v, %v", got, err)
	}
	if n := len(told); n < 4 || told[n-2] != sourceKeys || told[n-1] != sourceKeys {
		t.Errorf("progress ends with %v", told[max(0, n-2):])
	}
	if n := count(t, m.To); n != sourceKeys+1 {
		t.Errorf("the target has %d keys, want %d and the claim", n, sourceKeys)
	}
	if err := claim().Hold(t.Context(), m.To); err != nil {
		t.Errorf("a server with the same keys: %v", err)
	}
	if again, err := m.Run(t.Context()); err != nil || again.Keys != sourceKeys {
		t.Errorf("a second time: %+v, %v", again, err)
	}
}

func TestRunGoesOnWhereItStopped(t *testing.T) {
	m := &migration.Migration{From: source(t), To: store(t), Prefix: "/registry"}
	ctx, cancel := context.WithCancel(t.Context())
	m.Progress = func(int, int) { cancel() }
	if _, err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted Run = %v", err)
	}
	if n := count(t, m.To); n < 2 || n >= sourceKeys {
		t.Fatalf("%d keys are there in the middle", n)
	}
	if err := claim().Hold(t.Context(), m.To); !errors.Is(err, etcd.ErrUnfinished) {
		t.Errorf("a server on half of the data: %v", err)
	}
	m.Progress = nil
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, m.To); n != sourceKeys+1 {
		t.Errorf("the target has %d keys, want %d and the claim", n, sourceKeys)
	}
}

func TestRunRefusals(t *testing.T) {
	from := source(t)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, to *clientv3.Client)
		want    string
	}{
		{"an object is there", func(t *testing.T, to *clientv3.Client) {
			put(t, to, "/registry/configmaps/0", "v")
		}, "it holds 1 keys"},
		{"an event is there", func(t *testing.T, to *clientv3.Client) {
			lease, err := to.Grant(t.Context(), 1000)
			if err != nil {
				t.Fatal(err)
			}
			put(t, to, "/registry/events/x", "v", clientv3.WithLease(lease.ID))
		}, "it holds 1 keys"},
		{"a server has begun there", func(t *testing.T, to *clientv3.Client) {
			if err := claim().Hold(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}, "it holds 1 keys"},
		{"half of something else", func(t *testing.T, to *clientv3.Client) {
			put(t, to, etcd.MigrationKey, "other")
		}, "a migration of other data"},
		{"somebody writes meanwhile", func(t *testing.T, to *clientv3.Client) {
			halfway(t, from, to)
			put(t, to, "/registry/configmaps/9", "other")
		}, "another value"},
		{"somebody adds meanwhile", func(t *testing.T, to *clientv3.Client) {
			halfway(t, from, to)
			put(t, to, "/registry/configmaps/more", "v")
		}, "another process writes to it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := store(t)
			tt.prepare(t, to)
			_, err := (&migration.Migration{From: from, To: to, Prefix: "/registry"}).Run(t.Context())
			if !errors.Is(err, migration.ErrOccupied) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := (&migration.Migration{From: store(t), To: store(t), Prefix: "/registry"}).Run(t.Context()); err == nil {
		t.Error("nothing was moved, and that was called a success")
	}
}

func halfway(t *testing.T, from, to *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &migration.Migration{From: from, To: to, Prefix: "/registry", Progress: func(int, int) { cancel() }}
	if _, err := m.Run(ctx); err == nil {
		t.Fatal("not interrupted")
	}
	if _, err := to.Delete(t.Context(), "/registry/configmaps/9"); err != nil {
		t.Fatal(err)
	}
}
