package register_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

// A memory is a store that takes a second for each write, or fails.
type memory struct {
	mu      sync.Mutex
	batches [][]ledger.Row
	marks   []ledger.Mark
	rows    []ledger.Row // that were there before
	count   int64
	err     error
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) Put(ctx context.Context, rows []ledger.Row) error {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.batches = append(m.batches, rows)
	}
	return m.err
}

func (m *memory) Mark(_ context.Context, marks []ledger.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.marks = append(m.marks, marks...)
	}
	return m.err
}

func (m *memory) Count(context.Context) (int64, error)      { return m.count, m.err }
func (m *memory) Marks(context.Context, []ledger.Row) error { return m.err }
func (m *memory) Names(context.Context, string) ([]string, error) {
	return nil, m.err
}
func (m *memory) Get(context.Context, string) (ledger.Row, bool, error) {
	return ledger.Row{}, false, m.err
}
func (m *memory) Each(_ context.Context, visit func(ledger.Row) error) error {
	for _, row := range m.rows {
		if err := visit(row); err != nil {
			return err
		}
	}
	return m.err
}
func (m *memory) Page(context.Context, ledger.Range) (ledger.Page, error) {
	return ledger.Page{}, m.err
}

// counted are the metrics.
type counted struct {
	mu                                sync.Mutex
	written, failed, uses, usesFailed int
}

func (c *counted) Written(n int, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if failed {
		c.failed += n
	} else {
		c.written += n
	}
}

func (c *counted) UsesWritten(n int, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if failed {
		c.usesFailed += n
	} else {
		c.uses += n
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func jti(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// token is the entry of a token.
func token(n int) *register.Entry {
	return &register.Entry{
		Method: identity.ServiceAccount, Issuer: "https://issuer", ID: "JTI=" + jti(n),
		User: "system:serviceaccount:ns:sa", UID: "sa-uid", Asker: register.Asker{User: "jane"},
		Issued: time.Unix(1000, 0), Expires: time.Unix(int64(5000+n), 0),
	}
}

func TestOneAloneWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, counts := &memory{}, &counted{}
		r := register.New(store, counts, quiet())
		begin := time.Now()
		if err := r.Record(t.Context(), token(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %v, and the store a second", took)
		}
		if len(store.batches) != 1 || store.batches[0][0].Name != "jti-"+jti(1) || counts.written != 1 || r.Entries() != 1 {
			t.Errorf("written: %v, counted %d, entries %d", store.batches, counts.written, r.Entries())
		}
	})
}

// What comes while the store writes shares the next transactions.
func TestThoseWhoComeTogetherShareTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		r := register.New(store, &counted{}, quiet())
		begin := time.Now()
		var work sync.WaitGroup
		for i := range 1 + 2*ledger.MaxRows {
			work.Go(func() {
				if i > 0 {
					time.Sleep(time.Millisecond)
				}
				if err := r.Record(t.Context(), token(i)); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		sizes := []int{}
		for _, b := range store.batches {
			sizes = append(sizes, len(b))
		}
		if took := time.Since(begin); fmt.Sprint(sizes) != fmt.Sprint([]int{1, ledger.MaxRows, ledger.MaxRows}) || took != 3*time.Second {
			t.Errorf("transactions of %v entries in %v", sizes, took)
		}
	})
}

// An entry that is too large, or of a name that waits already, does not fail the
// others of its transaction.
func TestTransactionsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		r := register.New(store, &counted{}, quiet())
		var work sync.WaitGroup
		issue := func(e *register.Entry) {
			work.Go(func() {
				if err := r.Record(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		issue(token(0))
		synctest.Wait()
		for n := range 20 {
			large := token(1 + n%19) // the last one is the first again
			large.User = "system:serviceaccount:ns:" + strings.Repeat("a", 40_000)
			issue(large)
			synctest.Wait()
		}
		work.Wait()
		for _, batch := range store.batches {
			size, names := 0, map[string]bool{}
			for _, row := range batch {
				if size += len(row.Value); names[row.Name] {
					t.Errorf("%s is twice in a transaction", row.Name)
				}
				names[row.Name] = true
			}
			if size > 1<<20 {
				t.Errorf("a transaction of %d bytes", size)
			}
		}
		huge := token(99)
		huge.User = strings.Repeat("a", ledger.MaxValue+1)
		if err := r.Record(t.Context(), huge); !errors.Is(err, register.ErrNotWritten) {
			t.Errorf("an entry that no row holds: %v", err)
		}
	})
}

func TestNothingIsRecordedThatIsNotWritten(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*register.Entry, *memory)
		want   error
		say    string
	}{
		{"a store that fails", func(_ *register.Entry, m *memory) { m.err = errors.New("disk full") }, register.ErrNotWritten, "disk full"},
		{"nobody", func(e *register.Entry, _ *memory) { e.User = "" }, register.ErrNotWritten, "for nobody"},
		{"a token without jti", func(e *register.Entry, _ *memory) { e.ID = "" }, register.ErrNotWritten, "cannot be told from others"},
		{"a jti of another kind", func(e *register.Entry, _ *memory) { e.ID = "JTI=../../x" }, register.ErrNotWritten, "cannot be told from others"},
		{"a certificate without digest", func(e *register.Entry, _ *memory) { e.Method = identity.ClientCertificate }, register.ErrNotWritten, "cannot be told from others"},
		{"what is not issued", func(e *register.Entry, _ *memory) { e.Method = identity.StaticToken }, register.ErrNotWritten, "cannot be told from others"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &memory{}
				e := token(1)
				tt.change(e, store)
				r := register.New(store, &counted{}, quiet())
				err := r.Record(t.Context(), e)
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.say) {
					t.Errorf("%v, want %v with %q", err, tt.want, tt.say)
				}
				// It goes on once it can.
				store.fail(nil)
				if err := r.Record(t.Context(), token(2)); err != nil || r.Entries() != 1 {
					t.Errorf("the next: %v, and %d entries", err, r.Entries())
				}
			})
		})
	}
}

// certificate is the entry of a certificate.
func certificate(n int) *register.Entry {
	return &register.Entry{
		Method: identity.ClientCertificate, Issuer: "X509SHA256=ca", ID: fmt.Sprintf("X509SHA256=%064x", n), Digest: fmt.Sprintf("%064x", n),
		Serial: fmt.Sprint(n), User: "ann", Issued: time.Unix(1000, 0), Expires: time.Unix(5000, 0),
	}
}

// The accounts of one namespace cannot take what the others need.
func TestNamespaceHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const share = 3
		greedy := func(n int) *register.Entry { return token(n) } // of ns
		modest := func(n int) *register.Entry {
			e := token(n)
			e.User = "system:serviceaccount:other:sa"
			return e
		}
		store := &memory{}
		for n := range share {
			store.rows = append(store.rows, rowOf(t, greedy(100+n)))
		}
		store.rows = append(store.rows, rowOf(t, certificate(1)), rowOf(t, modest(200)), ledger.Row{Name: "broken", Value: []byte("{")})
		r := register.New(store, &counted{}, quiet())
		r.SetMost(10 * share)
		count := func(entries int64) {
			t.Helper()
			store.count = entries
			if err := r.Count(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		count(10*share/2 - share)
		if err := r.Record(t.Context(), greedy(1)); err != nil {
			t.Errorf("while there is room for everybody: %v", err)
		}
		count(10*share/2 + 1)
		if err := r.Record(t.Context(), greedy(2)); !errors.Is(err, register.ErrFull) || !strings.Contains(err.Error(), "for namespace ns: there are 4 credentials") {
			t.Errorf("more than its share: %v", err)
		}
		for n := range share - 1 {
			if err := r.Record(t.Context(), modest(300+n)); err != nil {
				t.Errorf("another namespace: %v", err)
			}
		}
		if err := r.Record(t.Context(), modest(400)); !errors.Is(err, register.ErrFull) {
			t.Errorf("what was written here is not counted: %v", err)
		}
		for n := range share - 1 {
			if err := r.Record(t.Context(), certificate(2+n)); err != nil {
				t.Errorf("a certificate: %v", err)
			}
		}
		if err := r.Record(t.Context(), certificate(9)); !errors.Is(err, register.ErrFull) || !strings.Contains(err.Error(), "for user ann") {
			t.Errorf("more certificates than her share: %v", err)
		}
		// Counts are good for a while.
		store.rows = nil
		count(10*share/2 + 1)
		if err := r.Record(t.Context(), greedy(3)); !errors.Is(err, register.ErrFull) {
			t.Errorf("counted at once again: %v", err)
		}
		time.Sleep(10 * time.Minute)
		count(10*share/2 + 1)
		if err := r.Record(t.Context(), greedy(4)); err != nil {
			t.Errorf("after its tokens have ended: %v", err)
		}
	})
}

func rowOf(t *testing.T, e *register.Entry) ledger.Row {
	t.Helper()
	row, err := register.RowOf(e)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestFullRegisterIssuesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{count: register.MaxEntries/10*9 - 1}
		r := register.New(store, &counted{}, quiet())
		if err := r.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Record(t.Context(), token(1)); err != nil {
			t.Fatalf("the last that has room: %v", err)
		}
		if err := r.Record(t.Context(), token(2)); !errors.Is(err, register.ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		// What is left is for those who let the others in.
		if err := r.Record(t.Context(), certificate(1)); err != nil {
			t.Errorf("an administrator: %v", err)
		}
		store.count = register.MaxEntries
		if err := r.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Record(t.Context(), certificate(2)); !errors.Is(err, register.ErrFull) {
			t.Errorf("an administrator too many: %v", err)
		}
		store.count = 5
		if err := r.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Record(t.Context(), token(2)); err != nil {
			t.Errorf("after there is room: %v", err)
		}
		store.err = errors.New("no answer")
		if err := r.Count(t.Context()); err == nil || r.Entries() != 6 {
			t.Errorf("a count that fails: %v, %d entries", err, r.Entries())
		}
	})
}

func TestWhoGivesUpHoldsNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		r := register.New(store, &counted{}, quiet())
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var work sync.WaitGroup
		work.Go(func() {
			if err := r.Record(short, token(1)); !errors.Is(err, register.ErrNotWritten) {
				t.Errorf("who gave up: %v", err)
			}
		})
		work.Go(func() {
			if err := r.Record(t.Context(), token(2)); err != nil {
				t.Error(err)
			}
		})
		work.Wait()
		time.Sleep(10 * time.Second) // the abandoned write ends too
	})
}

func TestNameOf(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	for _, tt := range []struct {
		in   identity.Credential
		want string
	}{
		{identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + jti(7), Digest: digest}, "jti-" + jti(7)},
		{identity.Credential{Method: identity.LegacyServiceAccount, Digest: digest}, "jws-" + digest},
		{identity.Credential{Method: identity.ClientCertificate, ID: "X509SHA256=ab", Digest: digest}, "x509-" + digest},
		{identity.Credential{Method: identity.ServiceAccount, Digest: digest}, ""},
		{identity.Credential{Method: identity.ServiceAccount, ID: jti(7)}, ""},
		{identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + strings.ToUpper("0000000a-0000-4000-8000-000000000000")}, ""},
		{identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + jti(7) + "0"}, ""},
		{identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + strings.Repeat("a", 36)}, ""},
		{identity.Credential{Method: identity.LegacyServiceAccount, Digest: digest[1:]}, ""},
		{identity.Credential{Method: identity.ClientCertificate, Digest: strings.ToUpper(digest)}, ""},
		{identity.Credential{Method: identity.ClientCertificate, Digest: digest[:62] + "/x"}, ""},
		{identity.Credential{Method: identity.JWT, ID: "JTI=" + jti(7), Digest: digest}, ""},
		{identity.Credential{Method: identity.FrontProxy, Digest: digest}, ""},
		{identity.Credential{}, ""},
	} {
		if got := register.NameOf(&tt.in); got != tt.want {
			t.Errorf("NameOf(%+v) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestSpool(t *testing.T) {
	e := token(3)
	e.Groups = make([]string, 100)
	text, err := e.Spool()
	if err != nil {
		t.Fatal(err)
	}
	got, err := register.ReadSpooled(text)
	if err != nil || got.Name() != e.Name() || !got.Expires.Equal(e.Expires) || !got.Issued.Equal(e.Issued) ||
		len(got.Groups) != 64 || got.MoreGroups != 36 || got.Asker != e.Asker {
		t.Errorf("%+v, %v", got, err)
	}
	e.Expires = time.Time{}
	if text, err = e.Spool(); err != nil {
		t.Fatal(err)
	}
	if got, err = register.ReadSpooled(text); err != nil || !got.Expires.IsZero() {
		t.Errorf("one without an end: %+v, %v", got, err)
	}
	e.ID = ""
	if _, err := e.Spool(); err == nil {
		t.Error("one without a name was spooled")
	}
	for _, bad := range []string{"", "{", "null", "{}", `{"entry":null}`, `{"entry":7}`, `{"expires":"x","entry":{}}`} {
		if _, err := register.ReadSpooled([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
