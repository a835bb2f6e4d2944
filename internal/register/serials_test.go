package register_test

import (
	"errors"
	"fmt"
	"slices"
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

// What was renewed from one another is found by what their serial numbers have in
// common, and nothing else is.
func TestChain(t *testing.T) {
	r, _, client := inStore(t)
	r.Serials = ledger.New(client, "/gatehouse/register/serials/")
	const chain, other, longer = "123456789abcdef01234", "223456789abcdef01234", "123456789abcdef012345"
	own := func(n int) string { return fmt.Sprintf("%020x", n) }
	certificate := func(n int, serial string) *register.Entry {
		e := *population()[3]
		e.Digest, e.Serial, e.Expires = fmt.Sprintf("%064x", n), serial, time.Now().Add(time.Duration(n)*time.Hour)
		return &e
	}
	first, second := certificate(1, chain+own(1)), certificate(2, chain+own(2))
	second.Parent, second.First = first.Name(), first.Name()
	third := certificate(3, chain+own(3))
	third.Issuer = "X509SHA256=another" // renewed when the CA had been replaced
	record(t, r, first, second, third, certificate(4, other+own(1)), certificate(5, longer+own(1)), certificate(6, "2b"))
	for _, tt := range []struct {
		chain string
		want  []*register.Entry
	}{
		{chain, []*register.Entry{first, second, third}}, {chain[:10], nil}, {longer, []*register.Entry{certificate(5, longer+own(1))}},
		{"", nil}, {"ffff", nil},
	} {
		got, err := r.Chain(t.Context(), tt.chain)
		var names, want []string
		for _, e := range got {
			names = append(names, e.Name())
		}
		for _, e := range tt.want {
			want = append(want, e.Name())
		}
		slices.Sort(names)
		if slices.Sort(want); err != nil || !slices.Equal(names, want) {
			t.Errorf("%q: %q, %v; want %q", tt.chain, names, err, want)
		}
	}
	for serial, want := range map[string]string{
		chain + own(3): third.Name(), chain + own(4): "", chain: "", "2b": "", "": "",
	} {
		got, err := r.FindNumber(t.Context(), serial)
		if err != nil || got == nil && want != "" || got != nil && got.Name() != want {
			t.Errorf("%q: %+v, %v; want %q", serial, got, err, want)
		}
	}
	got, err := r.Find(t.Context(), second.Name())
	if err != nil || got.Object().Status.RenewedFrom != first.Name() || got.Object().Status.FirstOfChain != first.Name() {
		t.Errorf("%+v, %v", got, err)
	}
}
