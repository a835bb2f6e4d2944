package volume_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/volume"
)

const prefix = "/gatehouse/test/"

func open(t *testing.T) (*volume.Volume, *clientv3.Client) {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return volume.New(e.Client(), prefix), e.Client()
}

func keys(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	got, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return got.Count
}

func TestEditions(t *testing.T) {
	v, client := open(t)
	var head volume.Head
	for i, value := range [][]byte{{}, []byte("small"), bytes.Repeat([]byte("large"), 1<<20), []byte("small again")} {
		number := big.NewInt(int64(10 + i))
		written, err := v.Write(t.Context(), head, number, "note", value)
		if err != nil {
			t.Fatal(err)
		}
		head, err = v.Head(t.Context())
		if err != nil || head.Number.Cmp(number) != 0 || head.Note != "note" || head.Pieces != written.Pieces {
			t.Fatalf("head %+v: %v", head, err)
		}
		if got, err := v.Read(t.Context(), head); err != nil || !bytes.Equal(got, value) {
			t.Errorf("edition %s: %d bytes, want %d: %v", number, len(got), len(value), err)
		}
		// Nothing of the editions before is left.
		if got := keys(t, client); got != int64(1+head.Pieces) {
			t.Errorf("edition %s: %d keys for %d pieces", number, got, head.Pieces)
		}
		// Whoever writes after what he wrote need not read it.
		head = written
	}
}

// Of two who write, one is late, and leaves nothing behind.
func TestLate(t *testing.T) {
	v, client := open(t)
	none, err := v.Head(t.Context())
	if err != nil || none.Number != nil {
		t.Fatalf("%+v, %v", none, err)
	}
	first, err := v.Write(t.Context(), none, big.NewInt(5), "", []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	before := keys(t, client)
	if _, err := v.Write(t.Context(), none, big.NewInt(5), "", []byte("late")); !errors.Is(err, volume.ErrLate) {
		t.Errorf("who is late is told %v", err)
	}
	if got := keys(t, client); got != before {
		t.Errorf("who was late left %d keys, of %d", got, before)
	}
	if got, err := v.Read(t.Context(), first); err != nil || string(got) != "first" {
		t.Errorf("in force is %q: %v", got, err)
	}
	if _, err := v.Write(t.Context(), first, big.NewInt(6), "", []byte("second")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Read(t.Context(), first); !errors.Is(err, volume.ErrLate) {
		t.Errorf("who reads what is gone is told %v", err)
	}
}

func TestRefusals(t *testing.T) {
	v, client := open(t)
	head, err := v.Write(t.Context(), volume.Head{}, big.NewInt(5), "", []byte("five"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		number int64
		value  []byte
	}{
		"the same number": {5, nil},
		"a number before": {4, nil},
		"too much":        {6, make([]byte, volume.MaxValue+1)},
	} {
		if _, err := v.Write(t.Context(), head, big.NewInt(tt.number), "", tt.value); err == nil || errors.Is(err, volume.ErrLate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Read(t.Context(), volume.Head{}); err == nil {
		t.Error("nothing was read")
	}
	for _, text := range []string{"", "{", "{}", `{"number":"x"}`} {
		if _, err := client.Put(t.Context(), prefix+"head", text); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Head(t.Context()); err == nil || !strings.Contains(err.Error(), prefix+"head") {
			t.Errorf("the head %q: %v", text, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Head(ended); err == nil {
		t.Error("a head without the store")
	}
}
