package crl_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/crl"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/etcd/volume"
	"gatehouse.dev/gatehouse/internal/pki"
)

// A world is a store with the list of an authority.
type world struct {
	t    *testing.T
	ca   *pki.Authority
	list *crl.List
	// other is the same list, as another process has it.
	other *crl.List
	open  func() *crl.List
	now   time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	w := &world{t: t, now: time.Now().Truncate(time.Second)}
	if w.ca, err = pki.OpenAuthority(t.TempDir(), "ca", "ca"); err != nil {
		t.Fatal(err)
	}
	w.open = func() *crl.List {
		return crl.New(w.ca, ledger.New(e.Client(), "/gatehouse/test/rows/"), volume.New(e.Client(), "/gatehouse/test/list/"))
	}
	w.list, w.other = w.open(), w.open()
	return w
}

// keep follows what is revoked, and reports whether the record has changed.
func (w *world) keep(revoked ...crl.Revoked) bool {
	w.t.Helper()
	changed, err := w.list.Keep(w.t.Context(), revoked, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return changed
}

// read returns the list in force, as another process reads it.
func (w *world) read() *x509.RevocationList {
	w.t.Helper()
	w.other = w.open() // which has not asked lately
	der, number, err := w.other.DER(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		w.t.Fatal(err)
	}
	if list.Number.Cmp(number) != 0 {
		w.t.Errorf("list %s is called %s", list.Number, number)
	}
	return list
}

// entries says what is on the list in force.
func (w *world) entries() string {
	var all []string
	for _, e := range w.read().RevokedCertificateEntries {
		all = append(all, fmt.Sprintf("%s:%d", e.SerialNumber, e.ReasonCode))
	}
	return strings.Join(all, " ")
}

func (w *world) revoked(serial int64, reason int, ends time.Duration) crl.Revoked {
	return crl.Revoked{Serial: big.NewInt(serial), At: w.now, Reason: reason, Ends: w.now.Add(ends)}
}

// What was on a list stays there, unless it was on hold.
func TestOnlyHoldsAreLifted(t *testing.T) {
	w := newWorld(t)
	compromised, held, unspecified := w.revoked(1, 1, time.Hour), w.revoked(2, crl.Hold, time.Hour), w.revoked(3, 0, time.Hour)
	for _, step := range []struct {
		name    string
		revoked []crl.Revoked
		changed bool
		want    string
	}{
		{"nothing", nil, false, ""},
		{"three", []crl.Revoked{compromised, held, unspecified}, true, "1:1 2:6 3:0"},
		{"the same", []crl.Revoked{unspecified, held, compromised}, false, "1:1 2:6 3:0"},
		{"all deleted", nil, true, "1:1 3:0"},
		{"again on hold", []crl.Revoked{held}, true, "1:1 2:6 3:0"},
		{"on hold twice, and one is deleted", []crl.Revoked{held, held}, false, "1:1 2:6 3:0"},
		{"on hold and compromised", []crl.Revoked{held, w.revoked(2, 1, time.Hour)}, true, "1:1 2:1 3:0"},
		{"on hold only", []crl.Revoked{held}, false, "1:1 2:1 3:0"},
		{"what was compromised is put on hold", []crl.Revoked{w.revoked(1, crl.Hold, time.Hour)}, false, "1:1 2:1 3:0"},
		{"nothing any more", nil, false, "1:1 2:1 3:0"},
	} {
		if got := w.keep(step.revoked...); got != step.changed {
			t.Errorf("%s: changed is %v", step.name, got)
		}
		if got := w.entries(); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	for serial, want := range map[int64]bool{1: true, 2: true, 3: true, 4: false, 0: false} {
		_, _, got, err := w.other.Status(t.Context(), big.NewInt(serial))
		if err != nil || got != want {
			t.Errorf("serial %d: revoked is %v: %v", serial, got, err)
		}
	}
}

// A list is signed when it says something else or is half over, and its number
// grows whatever the clock and the store say.
func TestNumbers(t *testing.T) {
	w := newWorld(t)
	w.keep()
	first := w.read()
	if !first.ThisUpdate.Equal(w.now) || first.NextUpdate.Sub(first.ThisUpdate) != crl.Lifetime {
		t.Errorf("from %v until %v", first.ThisUpdate, first.NextUpdate)
	}
	w.now = w.now.Add(crl.Lifetime/2 - time.Minute)
	if w.keep(); w.read().Number.Cmp(first.Number) != 0 {
		t.Error("a list was signed without need")
	}
	w.now = w.now.Add(time.Hour)
	w.keep()
	second := w.read()
	if second.Number.Cmp(first.Number) <= 0 || !second.NextUpdate.After(first.NextUpdate) {
		t.Errorf("list %s follows %s", second.Number, first.Number)
	}
	w.now = w.now.Add(-1000 * time.Hour) // the clock was wrong, or is
	w.keep(w.revoked(1, 0, time.Hour))
	third := w.read()
	if third.Number.Cmp(second.Number) <= 0 || third.Number.BitLen() > 8*20 {
		t.Errorf("list %s follows %s", third.Number, second.Number)
	}
	// A store that knows nothing of these lists.
	restored := newWorld(t)
	restored.now = second.ThisUpdate.Add(time.Second)
	if restored.keep(); restored.read().Number.Cmp(second.Number) <= 0 {
		t.Errorf("after a restore list %s follows %s", restored.read().Number, second.Number)
	}
}

// A certificate is on one list after its end, and goes then.
func TestEndedCertificatesGo(t *testing.T) {
	w := newWorld(t)
	short, long := w.revoked(1, 1, time.Hour), w.revoked(2, 1, 100*time.Hour)
	unknown, beyond := w.revoked(3, 1, 0), w.revoked(4, 1, 1000000*time.Hour)
	unknown.Ends = time.Time{}
	w.keep(short, long, unknown, beyond)
	w.now = w.now.Add(crl.Lifetime + time.Hour)
	if w.keep(); w.entries() != "1:1 2:1 3:1 4:1" {
		t.Errorf("a day after the end: %q", w.entries())
	}
	w.now = w.now.Add(2 * crl.Lifetime)
	if w.keep(); w.entries() != "2:1 3:1 4:1" {
		t.Errorf("three days after the end: %q", w.entries())
	}
	if w.keep(short) {
		t.Error("what is long over was put on the list again")
	}
	w.now = w.ca.Certificate().NotAfter.Add(-time.Hour)
	if w.keep(); w.entries() != "3:1 4:1" || w.read().NextUpdate.After(w.ca.Certificate().NotAfter) {
		t.Errorf("at the end of the authority: %q until %v", w.entries(), w.read().NextUpdate)
	}
}

// More than a page, and more than one transaction.
func TestMany(t *testing.T) {
	w := newWorld(t)
	var all []crl.Revoked
	for i := range int64(2500) {
		all = append(all, w.revoked(i+1, int(i%2)*crl.Hold, time.Duration(i)*time.Second))
	}
	if !w.keep(all...) || len(w.read().RevokedCertificateEntries) != len(all) {
		t.Errorf("%d entries of %d", len(w.read().RevokedCertificateEntries), len(all))
	}
	if !slices.IsSortedFunc(w.read().RevokedCertificateEntries, func(a, b x509.RevocationListEntry) int { return a.SerialNumber.Cmp(b.SerialNumber) }) {
		t.Error("the entries have no order")
	}
	if !w.keep() || len(w.read().RevokedCertificateEntries) != len(all)/2 {
		t.Errorf("without holds %d entries", len(w.read().RevokedCertificateEntries))
	}
}

func TestNoList(t *testing.T) {
	w := newWorld(t)
	if der, _, err := w.list.DER(t.Context()); !errors.Is(err, crl.ErrNone) || der != nil {
		t.Errorf("before the first: %v", err)
	}
	if edition, err := w.list.Edition(t.Context()); err != nil || edition != "" {
		t.Errorf("before the first the edition is %q: %v", edition, err)
	}
	broken := crl.New(w.ca, failing{}, nil)
	if _, err := broken.Keep(t.Context(), nil, w.now); !errors.Is(err, errBroken) {
		t.Errorf("without the store: %v", err)
	}
}

var errBroken = errors.New("broken")

type failing struct{ crl.Rows }

func (failing) Page(context.Context, ledger.Range) (ledger.Page, error) {
	return ledger.Page{}, errBroken
}

func TestParseSerial(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "0a": 10, "FF": 255, "": 0, "0": 0, "-1": 0, "+1": 0, "0x1": 0, "1_0": 0, "g": 0, " 1": 0} {
		got, ok := crl.ParseSerial(text)
		if ok != (want > 0) || ok && got.Int64() != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
}

// Another list is seen soon, and the store is not asked for every reader.
func TestEdition(t *testing.T) {
	w := newWorld(t)
	w.keep()
	first, err := w.other.Edition(t.Context())
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	w.keep(w.revoked(1, 1, time.Hour))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now, err := w.other.Edition(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if now != first {
			break
		}
		if time.Now().After(end) {
			t.Fatal("another list is never seen")
		}
	}
	if der, _, err := w.other.DER(t.Context()); err != nil || len(der) == 0 {
		t.Error(err)
	}
}
