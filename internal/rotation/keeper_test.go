package rotation_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/rotation"
)

// A store is one document that keepers share.
type store struct {
	mu       sync.Mutex
	text     []byte
	revision int64
	watching []func()
	reads    int
	down     bool
}

var errDown = errors.New("down")

func (s *store) Load(context.Context) ([]byte, int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.down {
		return nil, 0, false, errDown
	}
	return s.text, s.revision, false, nil
}

func (s *store) Save(_ context.Context, text []byte, revision int64) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return 0, false, errDown
	}
	if revision != s.revision {
		return s.revision, false, nil
	}
	s.revision++
	s.text = text
	for _, changed := range s.watching {
		changed()
	}
	return s.revision, true, nil
}

func (s *store) Watch(ctx context.Context, changed func()) {
	s.mu.Lock()
	s.watching = append(s.watching, changed)
	s.mu.Unlock()
	<-ctx.Done()
}

func (s *store) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// A process is a keeper, and what it accepts.
type process struct {
	*rotation.Keeper
	mu       sync.Mutex
	ring     *keyring.Ring
	gone     []string
	withheld bool
}

func (p *process) accepts(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.withheld && len(p.ring.Find(kid(token))) == 1
}

// kid is what a token of the test names its key by: the header has it only.
func kid(token string) string {
	var header struct{ Kid string }
	text, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &header) != nil {
		return ""
	}
	return header.Kid
}

func open(t *testing.T, s rotation.Store, change func(*rotation.Config)) (*process, error) {
	p := &process{}
	c := rotation.Config{
		Store: s, Promised: time.Hour, Log: slog.New(slog.DiscardHandler),
		Private: func(string) crypto.Signer { return nil }, Stored: func(string) bool { return false },
		Take: func(ring *keyring.Ring, withdrawn []string) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ring, p.gone = ring, withdrawn
			return nil
		},
		Withhold: func(yes bool) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.withheld = yes
			return nil
		},
	}
	if change != nil {
		change(&c)
	}
	var err error
	p.Keeper, err = rotation.Open(t.Context(), c, rotation.NewKey)
	return p, err
}

// processes starts n keepers over one store.
func processes(t *testing.T, s *store, n int, change func(*rotation.Config)) []*process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var all []*process
	for range n {
		p, err := open(t, s, change)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		running.Go(func() { p.Run(ctx) })
	}
	synctest.Wait()
	return all
}

func sign(t *testing.T, p *process, life time.Duration) string {
	t.Helper()
	token, err := p.Sign(t.Context(), map[string]string{"sub": "x"}, time.Now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestRotationOfMany lets three processes sign and verify all the time while
// keys are rotated four times: every token that has not expired is accepted by
// every process, and no copy of the key set that was promised for an hour lacks
// the key of a token.
func TestRotationOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life, step = 3 * time.Hour, 10 * time.Minute
		all := processes(t, &store{}, 3, nil)
		type issued struct {
			token string
			until time.Time
		}
		var tokens []issued
		copies := map[int]*keyring.Ring{} // of the key set, by the step it was taken at
		used := map[string]bool{}
		for n := range 4 * 12 {
			if n%12 == 0 {
				if _, err := all[n%3].Rotate(t.Context(), 0); err != nil {
					t.Fatalf("rotation %d: %v", n/12, err)
				}
			}
			for _, p := range all {
				tokens = append(tokens, issued{sign(t, p, life), time.Now().Add(life)})
			}
			p := all[n%3]
			p.mu.Lock()
			copies[n] = p.ring
			p.mu.Unlock()
			for _, each := range tokens {
				if time.Now().After(each.until.Add(time.Minute)) {
					continue
				}
				used[kid(each.token)] = true
				for i, p := range all {
					if !p.accepts(each.token) {
						t.Fatalf("step %d: process %d refuses a token that lives until %v", n, i, each.until)
					}
				}
			}
			for old := max(0, n-6); old < n; old++ { // taken less than an hour ago
				if newest := tokens[len(tokens)-1]; len(copies[old].Find(kid(newest.token))) != 1 {
					t.Fatalf("step %d: a copy of step %d lacks the key of a new token", n, old)
				}
			}
			time.Sleep(step)
			synctest.Wait()
		}
		if len(used) < 4 {
			t.Errorf("%d keys signed, so they were not rotated", len(used))
		}
		time.Sleep(9 * time.Hour)
		synctest.Wait()
		for _, p := range all {
			p.mu.Lock()
			lives := p.ring.Keys()
			p.mu.Unlock()
			if len(lives) != 1 {
				t.Errorf("%d keys are left in the end, want the one that signs", len(lives))
			}
		}
	})
}

// TestWithdrawnEverywhere says that a key that is withdrawn is refused by the
// process that was told when it returns, and by the others as they hear of it;
// and that all sign on.
func TestWithdrawnEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := processes(t, &store{}, 3, nil)
		token := sign(t, all[1], time.Hour)
		key, err := all[0].Withdraw(t.Context(), kid(token)[:8])
		if err != nil || key.State != rotation.Withdrawn || all[0].accepts(token) {
			t.Fatalf("%+v, %v; accepted: %v", key.State, err, all[0].accepts(token))
		}
		synctest.Wait()
		for i, p := range all {
			p.mu.Lock()
			gone := p.gone
			p.mu.Unlock()
			if p.accepts(token) || len(gone) != 1 || gone[0] != kid(token) {
				t.Errorf("process %d accepts it, and refuses %q", i, gone)
			}
			if next := sign(t, p, time.Hour); kid(next) == kid(token) || !all[0].accepts(next) || !all[2].accepts(next) {
				t.Errorf("process %d signs with another key that is not accepted", i)
			}
		}
	})
}

// TestCutOff says that a process that cannot reach the store does not sign when
// another key may have taken over, and does again when it can.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p := processes(t, s, 1, nil)[0]
		sign(t, p, time.Hour)
		s.set(true)
		time.Sleep(5 * time.Second)
		sign(t, p, time.Minute*10)
		time.Sleep(10 * time.Second)
		if _, err := p.Sign(t.Context(), map[string]string{}, time.Now().Add(time.Hour)); !errors.Is(err, errDown) {
			t.Errorf("signed by an old view: %v", err)
		}
		if err := p.Refresh(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("it is up to date: %v", err)
		}
		s.set(false)
		sign(t, p, time.Hour)
	})
}

// TestLongerIsWrittenDown says that a longer life is in the store before the
// token is there, and that tokens of the same length cost no write.
func TestLongerIsWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p := processes(t, s, 1, nil)[0]
		longest := func() string {
			var set rotation.Set
			if err := json.Unmarshal(s.text, &set); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(set.Keys[0].Longest, set.Keys[0].Endless)
		}
		for range 100 {
			sign(t, p, time.Hour)
		}
		if got := longest(); got != "3600 false" || s.revision != 2 {
			t.Errorf("hour: %s after %d writes", got, s.revision)
		}
		if _, err := p.Sign(t.Context(), map[string]string{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := longest(); got != "3600 true" {
			t.Errorf("for ever: %s", got)
		}
		s.set(true)
		if token, err := p.Sign(t.Context(), map[string]string{}, time.Now().Add(48*time.Hour)); err == nil {
			t.Errorf("a longer token is there before it is written down: %s", token)
		}
	})
}

// TestStrangersCostLittle says that however many tokens of unknown keys come,
// the store is asked ten times a second.
func TestStrangersCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p := processes(t, s, 1, nil)[0]
		before := s.reads
		var asking sync.WaitGroup
		for i := range 10000 {
			asking.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				if err := p.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		if n := s.reads - before; n > 13 || n < 5 {
			t.Errorf("asked %d times in a second", n)
		}
	})
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		if _, err := open(t, s, nil); err != nil {
			t.Fatal(err)
		}
		var set rotation.Set
		if err := json.Unmarshal(s.text, &set); err != nil {
			t.Fatal(err)
		}
		set.Keys[0].File, set.Keys[0].Private = true, nil
		asFile, _ := json.Marshal(set)
		set.Keys[0].File, set.Keys[0].Private = false, []byte("SECRET bytes")
		broken, _ := json.Marshal(set)
		set.Keys[0].State = rotation.Retired
		none, _ := json.Marshal(set)
		for name, tt := range map[string]struct {
			text   []byte
			change func(*rotation.Config)
			want   string
		}{
			"no JSON":                   {[]byte("SECRET{"), nil, "cannot be read"},
			"file that is not there":    {asFile, nil, "none of the files of this process"},
			"private half of no key":    {broken, nil, "cannot be read"},
			"none signs":                {none, nil, "no key that this process can sign with"},
			"refused by who verifies":   {s.text, func(c *rotation.Config) { c.Take = func(*keyring.Ring, []string) error { return errors.New("weak") } }, "weak"},
			"store that does not speak": {nil, func(c *rotation.Config) { c.Store = &store{down: true} }, "down"},
		} {
			_, err := open(t, &store{text: tt.text, revision: 1}, tt.change)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%s: %v, want %q", name, err, tt.want)
			}
		}
		// Who has keys of its own leaves the store as it is, and verifies with it.
		watch := func(c *rotation.Config) { c.Watches = true }
		empty := &store{}
		p, err := open(t, empty, watch)
		if err != nil || empty.revision != 0 {
			t.Errorf("who watches begins: %v, %d writes", err, empty.revision)
		}
		if _, err := p.Rotate(t.Context(), 0); !errors.Is(err, rotation.ErrFiles) {
			t.Errorf("who watches rotates: %v", err)
		}
		if p, err = open(t, s, watch); err != nil || len(p.ring.Keys()) != 1 || p.ring.Signs() {
			t.Errorf("who watches: %v, signs %v", err, p.ring.Signs())
		}
	})
}
