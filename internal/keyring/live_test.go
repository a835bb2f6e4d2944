package keyring_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/keyring"
)

// keyOf is the ID of a key, as a ring of it alone says.
func keyOf(t *testing.T, pem string) string {
	t.Helper()
	ring, err := keyring.Load("", write(t, t.TempDir(), "key", pem))
	if err != nil {
		t.Fatal(err)
	}
	return ring.Keys()[0].ID
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	a, b, c := ecKey(t), ecKey(t), ecKey(t)
	idA, idB, idC := keyOf(t, publicPEM(t, a.Public())), keyOf(t, publicPEM(t, b.Public())), keyOf(t, publicPEM(t, c.Public()))
	signing := write(t, dir, "sign.key", privatePEM(t, a))
	verifying := write(t, dir, "verify.pem", publicPEM(t, a.Public()))
	var refuse error
	var notes []string
	f, err := keyring.Follow(signing, []string{verifying, signing}, func(*keyring.Ring) error { return refuse }, func(problem error) {
		if problem == nil {
			problem = errors.New("good")
		}
		notes = append(notes, problem.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []struct {
		file, content string // "" removes the file
		refuse        error
		keys          []string // the one that signs is the first
		note          string   // "" for none
	}{
		{verifying, publicPEM(t, a.Public()), nil, []string{idA}, ""},
		{verifying, publicPEM(t, b.Public()) + publicPEM(t, a.Public()), nil, []string{idA, idB}, "good"},
		{signing, privatePEM(t, b), nil, []string{idB, idA}, "good"},
		{verifying, "nothing", nil, []string{idB, idA}, "has no key"},
		{signing, privatePEM(t, a), nil, []string{idB, idA}, ""}, // the other is bad still
		{verifying, publicPEM(t, c.Public()), nil, []string{idA, idC}, "good"},
		{signing, publicPEM(t, b.Public()), nil, []string{idA, idC}, "0 private keys"},
		{signing, privatePEM(t, b) + privatePEM(t, a), nil, []string{idA, idC}, "2 private keys"},
		{signing, "", nil, []string{idA, idC}, "no such file"},
		{signing, privatePEM(t, b), errors.New("not that one"), []string{idA, idC}, "not that one"},
		{signing, privatePEM(t, c), nil, []string{idC}, "good"},
	} {
		refuse, notes = s.refuse, nil
		if s.content == "" {
			if err := os.Remove(s.file); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, dir, filepath.Base(s.file), s.content)
		}
		f.Check()
		ring := f.Value()
		if got := ids(ring.Keys()); !slices.Equal(got, s.keys) {
			t.Errorf("step %d: the keys are %v, want %v", i, got, s.keys)
		}
		if got := strings.Join(notes, "|"); s.note == "" && got != "" || !strings.Contains(got, s.note) {
			t.Errorf("step %d: told %q, want %q", i, got, s.note)
		}
		token, err := ring.Sign(map[string]string{})
		if err != nil {
			t.Fatal(err)
		}
		if _, kid := verify(t, token, ring.Keys()[0].Public); kid != s.keys[0] {
			t.Errorf("step %d: signed with %s", i, kid)
		}
		if strings.Contains(strings.Join(notes, ""), "BEGIN") {
			t.Errorf("step %d: %q repeats a file", i, notes)
		}
	}
}

func TestFollowRefuses(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", privatePEM(t, ecKey(t)))
	bad := write(t, dir, "bad", "nothing")
	refuse := func(*keyring.Ring) error { return errors.New("not that one") }
	for _, tt := range []struct {
		name, signing string
		verifying     []string
		accept        func(*keyring.Ring) error
		want          string
	}{
		{"no file", "", nil, nil, "no file"},
		{"a bad one", bad, nil, nil, "has no key"},
		{"a bad one that verifies", good, []string{bad}, nil, "has no key"},
		{"one that is missing", good, []string{filepath.Join(dir, "none")}, nil, "no such file"},
		{"one that is not accepted", good, nil, refuse, "not that one"},
	} {
		if _, err := keyring.Follow(tt.signing, tt.verifying, tt.accept, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestFollowWithoutSigningKey(t *testing.T) {
	file := write(t, t.TempDir(), "keys", publicPEM(t, ecKey(t).Public()))
	f, err := keyring.Follow("", []string{file}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ring := f.Value(); ring.Signs() || len(ring.Keys()) != 1 {
		t.Errorf("a ring of %d keys that signs: %v", len(ring.Keys()), ring.Signs())
	}
}

func TestLive(t *testing.T) {
	load := func() *keyring.Ring {
		ring, err := keyring.Load(write(t, t.TempDir(), "key", privatePEM(t, ecKey(t))))
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	first, second := load(), load()
	live := keyring.NewLive(first)
	for _, want := range []*keyring.Ring{first, second} {
		live.Replace(want)
		token, err := live.Ring().Sign(map[string]string{})
		if err != nil {
			t.Fatal(err)
		}
		if _, kid := verify(t, token, want.Keys()[0].Public); live.Ring() != want || kid != want.Keys()[0].ID {
			t.Errorf("signed with %s, want %s", kid, want.Keys()[0].ID)
		}
	}
}

// A key that signs should be among those that verify, where replicas look.
func TestListed(t *testing.T) {
	dir := t.TempDir()
	key := ecKey(t)
	signing, own := write(t, dir, "sign", privatePEM(t, key)), write(t, dir, "own", publicPEM(t, key.Public()))
	other := write(t, dir, "other", publicPEM(t, ecKey(t).Public()))
	for _, tt := range []struct {
		name, signing string
		verifying     []string
		want          bool
	}{
		{"public half", signing, []string{own}, true},
		{"public half behind another", signing, []string{other, own}, true},
		{"same file", signing, []string{signing}, true},
		{"another key", signing, []string{other}, false},
		{"no file", signing, nil, false},
		{"nothing signs", "", []string{own}, false},
	} {
		ring, err := keyring.Load(tt.signing, tt.verifying...)
		if err != nil {
			t.Fatal(err)
		}
		if got := ring.Listed(); got != tt.want {
			t.Errorf("%s: Listed() = %v", tt.name, got)
		}
	}
}
