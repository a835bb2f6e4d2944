package rotation

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func never(string) bool  { return false }
func always(string) bool { return true }

func key(id string) Key { return Key{ID: id, Private: []byte("private " + id)} }

func fresh() (Key, error) { return key("fresh"), nil }

// states writes a set as "id:state id:state".
func states(s Set) string {
	var all []string
	for _, k := range s.Keys {
		all = append(all, k.ID+":"+string(k.State))
	}
	return strings.Join(all, " ")
}

// at is the set of two keys as it is after a while: the second was published an
// hour before it signed.
func at(t *testing.T, after time.Duration, change func(*Set)) (*Set, time.Time) {
	t.Helper()
	s := &Set{}
	s.begin(key("first1"), start)
	if _, err := s.raise("first1", 3600, false); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	if err := s.publish(key("second"), start, time.Hour); err != nil {
		t.Fatal(err)
	}
	for step := time.Duration(0); step <= after; step += time.Minute {
		s.advance(start.Add(step), never)
	}
	return s, start.Add(after)
}

// TestAdvance says what each key is at each time, to the minute.
func TestAdvance(t *testing.T) {
	const ends = time.Hour + lag + time.Hour + leeway // signed for an hour, and what it signed lives as long
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{0, "first1:signing second:published"},
		{time.Hour - time.Minute, "first1:signing second:published"},
		{time.Hour, "first1:verifying second:signing"},
		{ends - time.Minute, "first1:verifying second:signing"},
		{ends, "first1:retired second:signing"},
		{1000 * time.Hour, "first1:retired second:signing"},
	} {
		s, _ := at(t, tt.after, nil)
		if got := states(*s); got != tt.want {
			t.Errorf("after %v: %s, want %s", tt.after, got, tt.want)
		}
		for _, k := range s.Keys {
			if (k.Private != nil) != k.Lives() {
				t.Errorf("after %v: key %s is %s and has the private half %q", tt.after, k.ID, k.State, k.Private)
			}
		}
	}
}

// TestNeverRetired says which keys no time retires.
func TestNeverRetired(t *testing.T) {
	for name, change := range map[string]func(*Set){
		"tokens that were not written down": func(s *Set) { s.Keys[0].Unknown = true },
		"tokens of 136 years": func(s *Set) {
			if _, err := s.raise("first1", 1<<32, false); err != nil {
				t.Error(err)
			}
		},
	} {
		s, now := at(t, 1000*time.Hour, change)
		if got := states(*s); got != "first1:verifying second:signing" {
			t.Errorf("%s: %s", name, got)
		}
		if _, err := s.retire("first1", now, never); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: retired by hand, %v", name, err)
		}
	}
	// One that is in a Secret is kept as long as it is there.
	s, now := at(t, time.Hour, func(s *Set) { s.Keys[0].Endless = true })
	now = now.Add(1000 * time.Hour)
	if s.advance(now, always) || states(*s) != "first1:verifying second:signing" {
		t.Errorf("a Secret holds a token: %s", states(*s))
	}
	if _, err := s.retire("first1", now, always); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "Secrets hold") {
		t.Errorf("a Secret holds a token: %v", err)
	}
	if next := s.next(now); !next.Equal(now.Add(recheck)) {
		t.Errorf("it is looked at again in %v", next.Sub(now))
	}
	if !s.advance(now, never) || states(*s) != "first1:retired second:signing" {
		t.Errorf("the Secrets are gone: %s", states(*s))
	}
}

func TestPublish(t *testing.T) {
	s, now := at(t, 0, nil)
	if err := s.publish(key("third3"), now, time.Hour); !errors.Is(err, ErrUnderWay) {
		t.Errorf("a second rotation: %v", err)
	}
	s, now = at(t, time.Hour, nil)
	if err := s.publish(key("third3"), now, time.Hour); err != nil || states(*s) != "first1:verifying second:signing third3:published" {
		t.Errorf("a rotation while an old key verifies: %v, %s", err, states(*s))
	}
}

func TestRetire(t *testing.T) {
	const over = 3 * time.Hour
	for _, tt := range []struct {
		name  string
		after time.Duration
		id    string
		want  error
		then  string
	}{
		{"published", 0, "second", nil, "first1:signing second:retired"},
		{"begin of an ID", 0, "secon", ErrUnknown, ""},
		{"signing", 0, "first1", ErrInUse, ""},
		{"verifying", time.Hour, "first1", ErrInUse, ""},
		{"verifying, last minute", 2*time.Hour + lag + leeway - time.Minute, "first1", ErrInUse, ""},
		{"retired", over, "first1", ErrEnded, ""},
		{"nobody", over, "nobody", ErrUnknown, ""},
		{"empty", over, "", ErrUnknown, ""},
	} {
		s, now := at(t, tt.after, nil)
		before := states(*s)
		_, err := s.retire(tt.id, now, never)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if tt.then == "" {
			tt.then = before
		}
		if got := states(*s); got != tt.then {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.then)
		}
	}
}

func TestWithdraw(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		id    string
		want  error
		then  string
	}{
		{"published", 0, "second", nil, "first1:signing second:withdrawn"},
		{"signing, another is published", 0, "first1", nil, "first1:withdrawn second:signing"},
		{"verifying", time.Hour, "first1", nil, "first1:withdrawn second:signing"},
		{"signing, none is published", time.Hour, "second", nil, "first1:verifying second:withdrawn fresh:signing"},
		{"retired", 3 * time.Hour, "first1", ErrEnded, ""},
		{"nobody", 0, "nobody", ErrUnknown, ""},
	} {
		s, now := at(t, tt.after, nil)
		before := states(*s)
		got, err := s.withdraw(tt.id, now, fresh)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			continue
		}
		if tt.then == "" {
			tt.then = before
		}
		if states(*s) != tt.then {
			t.Errorf("%s: %s, want %s", tt.name, states(*s), tt.then)
		}
		if err == nil && (got.ID != tt.id || got.Private != nil || got.State != Withdrawn) {
			t.Errorf("%s: answers with key %s, %s, private half %q", tt.name, got.ID, got.State, got.Private)
		}
	}
	s, now := at(t, time.Hour, nil)
	if _, err := s.withdraw("second", now, func() (Key, error) { return Key{}, errors.New("no randomness") }); err == nil {
		t.Error("withdrawn without another key to sign")
	}
}

func TestRaise(t *testing.T) {
	const day = 24 * 3600
	s, _ := at(t, 0, nil)
	for _, tt := range []struct {
		seconds int64
		endless bool
		news    bool
		longest int64
	}{
		{600, false, false, 3600}, {3600, false, false, 3600}, {3601, false, true, 3660}, {3660, false, false, 3660},
		{day, false, true, day}, {0, true, true, day}, {0, true, false, day}, {10, false, false, day},
		{365 * day, false, true, 365 * day}, {365*day + 1, false, true, 2 * 365 * day}, {1 << 32, false, true, 137 * 365 * day},
	} {
		news, err := s.raise("first1", tt.seconds, tt.endless)
		if err != nil || news != tt.news || s.Keys[0].Longest != tt.longest || s.Keys[0].Longest < tt.seconds {
			t.Errorf("%d, %v: %v, %v, longest %d; want %v, %d", tt.seconds, tt.endless, news, err, s.Keys[0].Longest, tt.news, tt.longest)
		}
	}
	for _, id := range []string{"second", "nobody"} {
		if _, err := s.raise(id, 1, false); err == nil {
			t.Errorf("key %s takes tokens", id)
		}
	}
}

func TestFind(t *testing.T) {
	s := &Set{Keys: []Key{{ID: "abcdefgh"}, {ID: "abcdefij"}, {ID: "abcdef"}, {ID: "xyzxyzxyz"}}}
	for id, want := range map[string]string{"abcdefgh": "abcdefgh", "abcdef": "abcdef", "xyzxyz": "xyzxyzxyz", "xyzxy": "", "": "", "abcdefg": "abcdefgh"} {
		k, err := s.find(id)
		if (err == nil) != (want != "") || err == nil && k.ID != want {
			t.Errorf("%q: %v, %v, want %q", id, k, err, want)
		}
	}
	s.Keys = s.Keys[:2]
	if k, err := s.find("abcdef"); err == nil {
		t.Errorf("an ID of two keys is that of %s", k.ID)
	}
}

// TestForget says that the document does not grow for ever, and which keys stay.
func TestForget(t *testing.T) {
	s := &Set{}
	file := key("file")
	file.File = true
	s.begin(file, start)
	now := start
	for i := range 100 {
		if err := s.publish(key(fmt.Sprintf("key-%03d", i)), now, time.Minute); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
		s.advance(now, never)
		if i == 10 {
			if _, err := s.withdraw("key-010", now, fresh); err != nil {
				t.Fatal(err)
			}
		}
		s.advance(now.Add(time.Minute), never)
	}
	if n := len(s.Keys); n > kept+5 {
		t.Errorf("%d keys are remembered", n)
	}
	for _, id := range []string{"file", "key-010", "key-099"} {
		if _, err := s.find(id); err != nil {
			t.Errorf("key %s is forgotten", id)
		}
	}
	if _, err := s.find("key-000"); err == nil {
		t.Error("the oldest is still there")
	}
}
