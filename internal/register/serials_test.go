package register_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

// A certificate is found by its serial number as long as it has an entry.
func TestFindSerial(t *testing.T) {
	r, rows, client := inStore(t)
	serials := ledger.New(client, "/gatehouse/register/serials/")
	r.Serials = serials
	all := population()
	cert := all[3]
	record(t, r, all...)
	if got, err := r.FindSerial(t.Context(), cert.Issuer, cert.Serial); err != nil || got == nil || got.Name() != cert.Name() {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, of := range [][2]string{{cert.Issuer, "2b"}, {cert.Issuer, ""}, {cert.Issuer, "2A"}, {"X509SHA256=cb", cert.Serial}, {"", cert.Serial}, {"", ""}} {
		if got, err := r.FindSerial(t.Context(), of[0], of[1]); err != nil || got != nil {
			t.Errorf("%q: %+v, %v", of, got, err)
		}
	}
	if n, err := serials.Count(t.Context()); err != nil || n != 1 {
		t.Errorf("%d serial numbers of one certificate: %v", n, err)
	}
	// The certificate ended in 1970, so both go.
	once(t, rows, serials, func(*register.Entry) (bool, error) { return true, nil })
	if n, err := serials.Count(t.Context()); err != nil || n != 0 {
		t.Errorf("%d serial numbers are left: %v", n, err)
	}
	if got, err := r.FindSerial(t.Context(), cert.Issuer, cert.Serial); err != nil || got != nil {
		t.Errorf("what has ended is found: %+v, %v", got, err)
	}
}

// Without its serial number written down no certificate is issued.
func TestSerialNotWritten(t *testing.T) {
	broken := &memory{err: errors.New("broken")}
	store := &memory{}
	r := register.New(store, &counted{}, quiet())
	r.Serials = broken
	e := population()[3]
	e.Expires = time.Now().Add(time.Hour)
	if err := r.Record(t.Context(), e); !errors.Is(err, register.ErrNotWritten) {
		t.Errorf("got %v", err)
	}
	if len(store.batches) != 0 {
		t.Error("the entry was written")
	}
}
