package etcd_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
)

func TestRestore(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	old := start(t)
	put, err := old.Client().Put(t.Context(), "/k", "v")
	if err != nil {
		t.Fatal(err)
	}
	file := saved(t, old)

	dir := filepath.Join(t.TempDir(), "etcd")
	if err := etcd.Restore(file, dir, log); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Restore(file, dir, log); err == nil {
		t.Error("restored over what was there")
	}
	e, err := etcd.Start(t.Context(), dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Client().Get(t.Context(), "/k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Fatalf("after a restore: %v, %v", got, err)
	}
	// The old store may have written many times since.
	if got.Header.Revision < put.Header.Revision+1_000_000 {
		t.Errorf("revision %d after %d: it could come to mean two things", got.Header.Revision, put.Header.Revision)
	}
	if _, err := e.Client().Put(t.Context(), "/k", "w"); err != nil {
		t.Fatal(err)
	}
	w := <-e.Client().Watch(t.Context(), "/k", clientv3.WithRev(put.Header.Revision))
	if w.CompactRevision == 0 {
		t.Errorf("a watch from before goes on with %+v, want to be told to begin anew", w)
	}
}

func start(t *testing.T, options ...etcd.Option) *etcd.Embedded {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func saved(t *testing.T, e *etcd.Embedded) string {
	t.Helper()
	stream, err := e.Client().Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	path := filepath.Join(t.TempDir(), "s.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, stream); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
