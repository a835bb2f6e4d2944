package epoch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
)

func store(t *testing.T) *clientv3.Client {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e.Client()
}

func open(t *testing.T, client *clientv3.Client, file string) *epoch.Keeper {
	t.Helper()
	k, err := epoch.Open(t.Context(), client, file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// counts holds the store and the file to a count.
func counts(t *testing.T, client *clientv3.Client, file string, changes, revoked int64) {
	t.Helper()
	c, _, _, err := epoch.Read(t.Context(), client)
	if err != nil || c.Epoch != changes || c.Revoked != revoked {
		t.Errorf("the store has counted %+v, %v; want %d and %d", c, err, changes, revoked)
	}
	e, err := epoch.ReadFile(file)
	if err != nil || e == nil || e.Epoch != changes || e.Revoked != revoked || e.Seen.IsZero() || (changes > 0) == e.Changed.IsZero() {
		t.Errorf("%s has counted %+v, %v; want %d and %d", file, e, err, changes, revoked)
	}
}

// The two counts go together, over processes and starts, and many changes at a
// time count as many.
func TestAdvance(t *testing.T) {
	client, dir := store(t), t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	a, b := open(t, client, one), open(t, client, two)
	counts(t, client, one, 0, 0)
	for _, revokes := range []bool{true, true, false} {
		if err := a.Advance(t.Context(), revokes); err != nil {
			t.Fatal(err)
		}
	}
	counts(t, client, one, 3, 2)
	var work sync.WaitGroup
	for n := range 200 {
		work.Go(func() {
			if err := []*epoch.Keeper{a, b}[n%2].Advance(t.Context(), n%4 < 2); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if err := errors.Join(check(t, a), check(t, b)); err != nil {
		t.Error(err)
	}
	counts(t, client, one, 203, 102)
	counts(t, client, two, 203, 102)
	open(t, client, filepath.Join(dir, "three"))
	counts(t, client, filepath.Join(dir, "three"), 203, 102)
}

func check(t *testing.T, k *epoch.Keeper) error {
	t.Helper()
	_, err := k.Check(t.Context())
	return err
}

// What is counted while the store is looked at does not seem to be lost.
func TestCheckBesideChanges(t *testing.T) {
	client := store(t)
	k := open(t, client, filepath.Join(t.TempDir(), "epoch"))
	var work sync.WaitGroup
	for range 100 {
		work.Go(func() {
			if err := k.Advance(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			if err := check(t, k); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

// A store that has fewer revocations than the file knows of is refused, at the
// start and while it runs; one that has lost only what lifts some is not.
func TestLost(t *testing.T) {
	client, file := store(t), filepath.Join(t.TempDir(), "epoch")
	k := open(t, client, file)
	if err := k.Advance(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	before, err := client.Get(t.Context(), epoch.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Advance(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	put := func(value string) {
		if _, err := client.Put(t.Context(), epoch.Key, value); err != nil {
			t.Fatal(err)
		}
	}
	// What was lifted is in force again: nobody is let in by that.
	put(string(before.Kvs[0].Value))
	if err := check(t, k); err != nil {
		t.Error(err)
	}
	put(`{"epoch":0,"revoked":0}`)
	if err := check(t, k); !errors.Is(err, epoch.ErrLost) || !strings.Contains(err.Error(), file) {
		t.Errorf("while it runs: %v", err)
	}
	if err := k.Advance(t.Context(), true); !errors.Is(err, epoch.ErrLost) {
		t.Errorf("when more is revoked: %v", err)
	}
	if _, err := epoch.Open(t.Context(), client, file, slog.New(slog.DiscardHandler)); !errors.Is(err, epoch.ErrLost) {
		t.Errorf("at the start: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	open(t, client, file)
	counts(t, client, file, 0, 0)
}

// Without a file a process remembers for itself, and a start says that nothing
// tells.
func TestWithoutFile(t *testing.T) {
	client := store(t)
	k := open(t, client, "")
	if err := k.Advance(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	had, err := client.Get(t.Context(), epoch.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(t.Context(), epoch.Key); err != nil {
		t.Fatal(err)
	}
	if err := check(t, k); !errors.Is(err, epoch.ErrLost) {
		t.Error(err)
	}
	if _, err := client.Put(t.Context(), epoch.Key, string(had.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := epoch.Open(t.Context(), client, "", slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "nothing outside the store tells") {
		t.Errorf("log %q", log.String())
	}
}

// A change whose count cannot be kept fails.
func TestFails(t *testing.T) {
	client, dir := store(t), t.TempDir()
	k := open(t, client, filepath.Join(dir, "epoch"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	if err := k.Advance(t.Context(), true); err == nil {
		t.Error("it was counted without a file")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := epoch.Open(ctx, client, "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it was opened without a store")
	}
}

func TestReadFileRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "epoch")
	if e, err := epoch.ReadFile(file); e != nil || err != nil {
		t.Errorf("none: %v, %v", e, err)
	}
	for _, text := range []string{"", "x", "[]", `"1"`, `{"epoch":1,"revoked":2}`, `{"epoch":-1,"revoked":-1}`, `{"epoch":"1"}`, `{"epoch":1} x`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := epoch.ReadFile(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
	e := &epoch.Evidence{Count: epoch.Count{Epoch: 2, Revoked: 1, Changed: time.Unix(1, 0).UTC()}, Seen: time.Unix(2, 0).UTC()}
	if err := e.Write(file); err != nil {
		t.Fatal(err)
	}
	if got, err := epoch.ReadFile(file); err != nil || *got != *e {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"epoch":3,"revoked":2,"changed":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"epoch":1,"revoked":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := epoch.Parse(text); err == nil && (c.Revoked < 0 || c.Epoch < c.Revoked) {
			t.Errorf("%q is %+v", text, c)
		}
	})
}
