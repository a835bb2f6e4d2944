package tokens_test

import (
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/tokens"
)

// listed returns the names that an account lists.
func (w *world) listed(account string) []string {
	w.t.Helper()
	live, err := w.accounts.Get(w.t.Context(), "ns", account)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, ref := range live.Secrets {
		names = append(names, ref.Name)
	}
	return names
}

// one fails the test unless there is one Secret, listed by the account, and
// returns its name.
func (w *world) one(account, uid string) string {
	w.t.Helper()
	all, err := w.secrets.List(w.t.Context(), "ns")
	if err != nil {
		w.t.Fatal(err)
	}
	names := w.listed(account)
	if len(all) != 1 || len(names) != 1 || all[0].Name != names[0] {
		w.t.Fatalf("%d secrets, and account %s lists %q; want one, and the same", len(all), account, names)
	}
	w.expect(names[0], string(all[0].Data["token"]), "one", uid)
	return names[0]
}

func TestAutoSecret(t *testing.T) {
	for _, processes := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.account("bot", "u1")
			w.start(processes, true)
			time.Sleep(time.Minute)
			first := w.one("bot", "u1")
			if !regexp.MustCompile(`^bot-token-[a-z0-9]{5}$`).MatchString(first) {
				t.Errorf("secret is called %s", first)
			}

			// Another one is made for one that is deleted.
			if err := w.secrets.Delete(t.Context(), "ns", first, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if second := w.one("bot", "u1"); second == first {
				t.Errorf("secret is called %s again", second)
			}

			// An account made again has another, and the first is gone.
			if err := w.accounts.Delete(t.Context(), "ns", "bot", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			w.account("bot", "u2")
			time.Sleep(time.Minute)
			w.one("bot", "u2")
		})
	}
}

func TestAutoSecretOfLongName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		name := strings.Repeat("a", 100)
		w.account(name, "u1")
		w.start(1, true)
		time.Sleep(time.Minute)
		if got := w.one(name, "u1"); len(got) != 63 {
			t.Errorf("secret's name has %d characters, want 63", len(got))
		}
	})
}

// TestAutoSecretConflict says that the Secret is deleted if the account changed
// before it could be listed, and that another is made.
func TestAutoSecretConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1")
		var meddled atomic.Bool
		w.accounts.Before = func(verb, _, _ string) error {
			if verb != "update" || !meddled.CompareAndSwap(false, true) {
				return nil
			}
			account, err := w.accounts.Get(t.Context(), "ns", "bot")
			if err != nil {
				return err
			}
			account.Labels = map[string]string{"by": "somebody else"}
			_, err = w.accounts.Update(t.Context(), account)
			return err
		}
		w.start(1, true)
		time.Sleep(time.Minute)
		w.one("bot", "u1")
		if n := w.made.Load(); n != 2 {
			t.Errorf("%d tokens made, want 2", n)
		}
	})
}

// TestAutoSecretUnheardUpdate says that a Secret stays if it was listed although
// the answer was an error.
func TestAutoSecretUnheardUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1")
		var lost atomic.Bool
		w.accounts.Before = func(verb, _, _ string) error {
			if verb != "update" || !lost.CompareAndSwap(false, true) {
				return nil
			}
			secrets, err := w.secrets.List(t.Context(), "ns")
			if err != nil {
				return err
			}
			account, err := w.accounts.Get(t.Context(), "ns", "bot")
			if err != nil {
				return err
			}
			account.Secrets = []corev1.ObjectReference{{Name: secrets[0].Name}}
			if _, err := w.accounts.Update(t.Context(), account); err != nil {
				return err
			}
			return errors.New("connection reset")
		}
		w.start(1, true)
		time.Sleep(time.Minute)
		w.one("bot", "u1")
		if n := w.made.Load(); n != 1 {
			t.Errorf("%d tokens made, want 1", n)
		}
	})
}

// TestAutoSecretAfterCrash says that a Secret that was made and not listed is
// listed, and no second one made; but that a user's own is left alone.
func TestAutoSecretAfterCrash(t *testing.T) {
	tests := []struct {
		name   string
		secret string
		taken  bool
	}{
		{"generated name", "bot-token-x2x4z", true},
		{"own name", "bot-token", false},
		{"letters that are never generated", "bot-token-aeiou", false},
		{"longer", "bot-token-x2x4z5", false},
		{"of another account", "bot2-token-x2x4z", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.account("bot", "u1")
				w.secret(tt.secret, "bot", "u1")
				w.start(1, true)
				time.Sleep(time.Minute)
				names := w.listed("bot")
				if len(names) != 1 || (names[0] == tt.secret) != tt.taken {
					t.Errorf("account lists %q; want %s: %v", names, tt.secret, tt.taken)
				}
			})
		})
	}
}

func TestUserListedSecretSuffices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1", "mine")
		w.secret("mine", "bot", "u1")
		w.start(1, true)
		time.Sleep(time.Minute)
		w.one("bot", "u1")
	})
}

// TestReferences says which references are removed, whether or not the
// controller saw the Secret go.
func TestReferences(t *testing.T) {
	tests := []struct {
		name string
		ref  string
		seen bool // being deleted
		want bool // whether the reference stays
	}{
		{"token deleted", "mine", true, false},
		{"generated token deleted", "bot-token-x2x4z", true, false},
		{"generated token deleted unseen", "bot-token-x2x4z", false, false},
		{"never made", "mine", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.account("bot", "u1", "first", tt.ref, "last")
				if tt.seen {
					w.secret(tt.ref, "bot", "")
				}
				w.start(2, false)
				time.Sleep(time.Second)
				if tt.seen {
					if err := w.secrets.Delete(t.Context(), "ns", tt.ref, metav1.DeleteOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				want := "first last"
				if tt.want {
					want = "first " + tt.ref + " last"
				}
				if got := strings.Join(w.listed("bot"), " "); got != want {
					t.Errorf("account lists %q, want %q", got, want)
				}
			})
		})
	}
}

// TestReferenceToUncachedSecret says that a reference stays if only the cache
// does not have the Secret.
func TestReferenceToUncachedSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1", "bot-token-x2x4z")
		w.secret("bot-token-x2x4z", "bot", "u1")
		c := &tokens.Controller{
			Accounts: w.accounts.Informer(), Secrets: controllertest.NewStore[*corev1.Secret]("secrets").Informer(),
			AccountStore: w.accounts, SecretStore: w.secrets, AutoSecrets: true,
			Token: w.token, CA: func() []byte { return nil }, Log: controllertest.Log(t),
		}
		controllertest.Start(t, []cache.SharedIndexInformer{c.Accounts, c.Secrets}, c.Run)
		time.Sleep(time.Minute)
		if got := w.listed("bot"); len(got) != 1 || got[0] != "bot-token-x2x4z" || w.made.Load() != 0 {
			t.Errorf("account lists %q, %d tokens made; want the one it has", got, w.made.Load())
		}
	})
}
