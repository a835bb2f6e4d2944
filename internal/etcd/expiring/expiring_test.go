package expiring_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/expiring"
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

func TestShelf(t *testing.T) {
	client := store(t)
	s := expiring.New(client, "/gatehouse/test/", time.Hour)
	values := map[string][]byte{}
	for i := range 200 { // more than fit into one write
		values[fmt.Sprintf("a/%03d", i)] = []byte("v")
	}
	values["b/1"] = []byte("w")
	if err := s.Put(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "b/1", "a/007", "none")
	if err != nil || len(got) != 2 || string(got["b/1"]) != "w" || string(got["a/007"]) != "v" {
		t.Errorf("Get = %q, %v", got, err)
	}
	keys, below, all, err := s.Below(t.Context(), "a/", 3)
	if err != nil || strings.Join(keys, " ") != "a/000 a/001 a/002" || string(below[2]) != "v" || all != 200 {
		t.Errorf("Below = %q, %q, %d, %v", keys, below, all, err)
	}
	// Another shelf, as of another process, finds the same.
	if got, err := expiring.New(client, "/gatehouse/test/", time.Hour).Get(t.Context(), "b/1"); err != nil || len(got) != 1 {
		t.Errorf("from another process: %q, %v", got, err)
	}
	leases, err := client.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("%d leases for values of one moment, %v", len(leases.Leases), err)
	}
	left, err := client.TimeToLive(t.Context(), leases.Leases[0].ID)
	if err != nil || left.GrantedTTL < 3600 || left.GrantedTTL > 3600+3600/10 {
		t.Errorf("values live for %d s, want an hour and little more", left.GrantedTTL)
	}
}

// What etcd has taken away is not missed.
func TestShelfOutlivesItsLease(t *testing.T) {
	client := store(t)
	s := expiring.New(client, "/gatehouse/test/", time.Hour)
	put := func(key string) {
		t.Helper()
		if err := s.Put(t.Context(), map[string][]byte{key: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	leases, err := client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := client.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	put("after")
	if got, err := s.Get(t.Context(), "before", "after"); err != nil || len(got) != 1 || got["after"] == nil {
		t.Errorf("Get = %q, %v; want what was kept after the lease went", got, err)
	}
}

func TestShelfRefusesWhatIsTooLarge(t *testing.T) {
	s := expiring.New(store(t), "/gatehouse/test/", time.Hour)
	large := bytes.Repeat([]byte("x"), expiring.MaxValue+1)
	if err := s.Put(t.Context(), map[string][]byte{"k": large}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a value that is too large: %v", err)
	}
	if err := s.Put(t.Context(), map[string][]byte{"k": large[1:]}); err != nil {
		t.Errorf("the largest value: %v", err)
	}
}
