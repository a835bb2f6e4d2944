package document_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/document"
)

// marked is a sealer that only marks what it has sealed, and for where.
type marked struct{ refuse error }

func (m marked) Seal(_ context.Context, key string, plain []byte) ([]byte, error) {
	return []byte("sealed for " + key + ": " + string(plain)), m.refuse
}

func (m marked) Open(_ context.Context, key string, sealed []byte) ([]byte, bool, error) {
	plain, ok := strings.CutPrefix(string(sealed), "sealed for "+key+": ")
	if !ok {
		return nil, false, errors.New("not sealed for " + key)
	}
	return []byte(plain), false, nil
}

func TestDocument(t *testing.T) {
	store, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	d := &document.Document{Client: store.Client(), Key: "/test/document", Sealer: marked{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changed := make(chan struct{}, 100)
	go d.Watch(ctx, func() { changed <- struct{}{} })
	heard := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody is told of %s", what)
		}
	}
	heard("the beginning")
	if text, revision, _, err := d.Load(t.Context()); err != nil || text != nil || revision != 0 {
		t.Errorf("nothing is there: %q, %d, %v", text, revision, err)
	}
	first, ok, err := d.Save(t.Context(), []byte("one"), 0)
	if err != nil || !ok {
		t.Fatalf("saving the first: %v, %v", ok, err)
	}
	heard("the first")
	for _, stale := range []int64{0, first - 1, first + 1} {
		if _, ok, err := d.Save(t.Context(), []byte("other"), stale); err != nil || ok {
			t.Errorf("written over revision %d by who has seen %d: %v", first, stale, err)
		}
	}
	second, ok, err := d.Save(t.Context(), []byte("two"), first)
	if err != nil || !ok || second <= first {
		t.Errorf("saving the second: %v, %v, revision %d", ok, err, second)
	}
	heard("the second")
	if text, revision, _, err := d.Load(t.Context()); err != nil || string(text) != "two" || revision != second {
		t.Errorf("%q, %d, %v", text, revision, err)
	}
	if _, err := store.Client().Put(t.Context(), "/test/document", "sealed for /elsewhere: three"); err != nil {
		t.Fatal(err)
	}
	heard("what somebody else wrote")
	if text, _, _, err := d.Load(t.Context()); err == nil {
		t.Errorf("what was sealed for another place says %q", text)
	}
	d.Sealer = marked{refuse: errors.New("no key")}
	if _, ok, err := d.Save(t.Context(), []byte("four"), second); err == nil || ok {
		t.Error("saved without a seal")
	}
}
