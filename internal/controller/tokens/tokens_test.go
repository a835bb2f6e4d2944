package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/tokens"
)

// A world is the stores and controllers of a test, in the namespace ns.
type world struct {
	t        *testing.T
	accounts *controllertest.Store[*corev1.ServiceAccount]
	secrets  *controllertest.Store[*corev1.Secret]
	ca       atomic.Value // string
	refuse   atomic.Bool  // to make tokens
	made     atomic.Int32 // tokens
}

func newWorld(t *testing.T) *world {
	w := &world{
		t:        t,
		accounts: controllertest.NewStore[*corev1.ServiceAccount]("serviceaccounts"),
		secrets:  controllertest.NewStore[*corev1.Secret]("secrets"),
	}
	w.ca.Store("one")
	return w
}

// start runs n controllers, each with informers of its own.
func (w *world) start(n int, auto bool) {
	w.t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &tokens.Controller{
			Accounts:     w.accounts.Informer(),
			Secrets:      w.secrets.Informer(),
			AccountStore: w.accounts,
			SecretStore:  w.secrets,
			Token:        w.token,
			CA:           func() []byte { return []byte(w.ca.Load().(string)) },
			AutoSecrets:  auto,
			Log:          controllertest.Log(w.t),
		}
		informers = append(informers, c.Accounts, c.Secrets)
		runs = append(runs, c.Run)
	}
	controllertest.Start(w.t, informers, runs...)
}

func (w *world) token(_ context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) (string, error) {
	if w.refuse.Load() {
		return "", errors.New("signing key is away")
	}
	return fmt.Sprintf("token %d of %s for %s", w.made.Add(1), account.UID, secret.Name), nil
}

func (w *world) account(name string, uid types.UID, secrets ...string) *corev1.ServiceAccount {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: uid}}
	for _, secret := range secrets {
		account.Secrets = append(account.Secrets, corev1.ObjectReference{Name: secret})
	}
	account, err := w.accounts.Create(w.t.Context(), account)
	if err != nil {
		w.t.Fatal(err)
	}
	return account
}

// secret makes a token Secret for an account, with a UID or without.
func (w *world) secret(name, account, uid string) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name,
			Annotations: map[string]string{"kubernetes.io/service-account.name": account},
		},
		Type: "kubernetes.io/service-account-token",
	}
	if uid != "" {
		secret.Annotations["kubernetes.io/service-account.uid"] = uid
	}
	secret, err := w.secrets.Create(w.t.Context(), secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// get returns a Secret, or nil.
func (w *world) get(name string) *corev1.Secret {
	w.t.Helper()
	secret, err := w.secrets.Get(w.t.Context(), "ns", name)
	if err != nil {
		return nil
	}
	return secret
}

// expect fails the test unless a Secret is filled in.
func (w *world) expect(name, token, ca, uid string) {
	w.t.Helper()
	secret := w.get(name)
	if secret == nil {
		w.t.Fatalf("secret %s is not there", name)
	}
	if got := string(secret.Data["token"]); got != token {
		w.t.Errorf("token is %q, want %q", got, token)
	}
	if got := string(secret.Data["ca.crt"]); got != ca {
		w.t.Errorf("ca.crt is %q, want %q", got, ca)
	}
	if got := string(secret.Data["namespace"]); got != "ns" {
		w.t.Errorf("namespace is %q, want ns", got)
	}
	if got := secret.Annotations["kubernetes.io/service-account.uid"]; got != uid {
		w.t.Errorf("UID is %q, want %q", got, uid)
	}
}

func (w *world) update(secret *corev1.Secret) {
	w.t.Helper()
	if _, err := w.secrets.Update(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
}

func TestFilledIn(t *testing.T) {
	for _, processes := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.account("bot", "u1")
			w.secret("before", "bot", "")
			w.start(processes, false)
			w.secret("after", "bot", "")
			w.secret("named", "bot", "u1")
			time.Sleep(time.Second)
			for _, name := range []string{"before", "after", "named"} {
				// Of two processes both make a token, and the first to write wins.
				w.expect(name, string(w.get(name).Data["token"]), "one", "u1")
				if len(w.get(name).Data["token"]) == 0 {
					t.Errorf("secret %s has no token", name)
				}
			}
			if account, _ := w.accounts.Get(t.Context(), "ns", "bot"); len(account.Secrets) != 0 {
				t.Errorf("account lists %v, want nothing", account.Secrets)
			}
		})
	}
}

func TestKeptRight(t *testing.T) {
	tests := []struct {
		name   string
		change func(*corev1.Secret)
		token  string
	}{
		{"token removed", func(s *corev1.Secret) { delete(s.Data, "token") }, "token 2 of u1 for s"},
		{"token emptied", func(s *corev1.Secret) { s.Data["token"] = nil }, "token 2 of u1 for s"},
		{"all removed", func(s *corev1.Secret) { s.Data = nil }, "token 2 of u1 for s"},
		{"CA changed", func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("evil") }, "token 1 of u1 for s"},
		{"namespace removed", func(s *corev1.Secret) { delete(s.Data, "namespace") }, "token 1 of u1 for s"},
		{"namespace changed", func(s *corev1.Secret) { s.Data["namespace"] = []byte("evil") }, "token 1 of u1 for s"},
		{"UID removed", func(s *corev1.Secret) { delete(s.Annotations, "kubernetes.io/service-account.uid") }, "token 1 of u1 for s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.account("bot", "u1")
				w.start(1, false)
				w.secret("s", "bot", "")
				time.Sleep(time.Second)
				w.expect("s", "token 1 of u1 for s", "one", "u1")
				secret := w.get("s")
				tt.change(secret)
				w.update(secret)
				time.Sleep(time.Second)
				w.expect("s", tt.token, "one", "u1")
			})
		})
	}
}

func TestUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1", "opaque", "not-yet")
		opaque := w.secret("opaque", "bot", "")
		opaque.Type = corev1.SecretTypeOpaque
		w.update(opaque)
		orphan := w.secret("unnamed", "", "")
		orphan.Annotations = nil
		w.update(orphan)
		before := w.secrets.Writes() + w.accounts.Writes()
		w.start(1, false)
		time.Sleep(time.Hour)
		if after := w.secrets.Writes() + w.accounts.Writes(); after != before {
			t.Errorf("%d writes, want none", after-before)
		}
	})
}

// TestKeepsPresentToken says that a token and further keys are not replaced.
func TestKeepsPresentToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1")
		secret := w.secret("s", "bot", "")
		secret.Data = map[string][]byte{"token": []byte("older"), "more": []byte("own")}
		w.update(secret)
		w.start(1, false)
		time.Sleep(time.Second)
		w.expect("s", "older", "one", "u1")
		if string(w.get("s").Data["more"]) != "own" {
			t.Error("a further key is gone")
		}
	})
}

func TestCAReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1")
		w.start(1, false)
		w.secret("s", "bot", "")
		time.Sleep(time.Second)
		w.ca.Store("two")
		time.Sleep(time.Second + time.Millisecond)
		w.expect("s", "token 1 of u1 for s", "two", "u1")
		w.ca.Store("")
		time.Sleep(time.Minute)
		w.expect("s", "token 1 of u1 for s", "two", "u1")
	})
}

func TestTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.refuse.Store(true)
		w.account("bot", "u1")
		w.start(1, true)
		w.secret("s", "bot", "")
		time.Sleep(time.Hour)
		if w.secrets.Writes() != 1 || len(w.get("s").Data) != 0 {
			t.Errorf("%d writes, data %v; want nothing without a token", w.secrets.Writes(), w.get("s").Data)
		}
		w.refuse.Store(false)
		time.Sleep(20 * time.Second)
		if len(w.get("s").Data["token"]) == 0 {
			t.Error("no token after the key came back")
		}
	})
}

func TestDeletedWithAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.account("bot", "u1")
		w.account("other", "u2")
		w.start(2, false)
		w.secret("s", "bot", "")
		w.secret("kept", "other", "")
		time.Sleep(time.Second)
		if err := w.accounts.Delete(t.Context(), "ns", "bot", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if w.get("s") != nil || w.get("kept") == nil {
			t.Errorf("s is there: %v, kept is there: %v; want only kept", w.get("s") != nil, w.get("kept") != nil)
		}
	})
}

func TestDeletedWithoutAccount(t *testing.T) {
	tests := []struct {
		name         string
		account, uid string // that the Secret names
		want         bool   // whether it stays
	}{
		{"account", "bot", "", true},
		{"account and UID", "bot", "u1", true},
		{"UID of an earlier account", "bot", "u0", false},
		{"no such account", "nobody", "", false},
	}
	for _, tt := range tests {
		for _, when := range []string{"before", "after"} {
			t.Run(tt.name+" "+when+" start", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.account("bot", "u1")
					if when == "before" {
						w.secret("s", tt.account, tt.uid)
					}
					w.start(1, false)
					if when == "after" {
						w.secret("s", tt.account, tt.uid)
					}
					time.Sleep(time.Second)
					if got := w.get("s") != nil; got != tt.want {
						t.Errorf("secret is there: %v, want %v", got, tt.want)
					}
				})
			})
		}
	}
}

// TestLaggingCache says that a Secret is not deleted because the cache does not
// have its account yet, or has an earlier one of that name.
func TestLaggingCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		// The controller's informer is on a store that nobody writes to any more.
		stale := controllertest.NewStore[*corev1.ServiceAccount]("serviceaccounts")
		if _, err := stale.Create(t.Context(), &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "again", UID: "u1"},
		}); err != nil {
			t.Fatal(err)
		}
		c := &tokens.Controller{
			Accounts: stale.Informer(), Secrets: w.secrets.Informer(),
			AccountStore: w.accounts, SecretStore: w.secrets,
			Token: w.token, CA: func() []byte { return nil }, Log: controllertest.Log(t),
		}
		w.account("new", "u3")
		w.account("again", "u2")
		controllertest.Start(t, []cache.SharedIndexInformer{c.Accounts, c.Secrets}, c.Run)
		w.secret("a", "new", "")
		w.secret("b", "again", "u2")
		time.Sleep(time.Second)
		w.expect("a", "token 1 of u3 for a", "", "u3")
		w.expect("b", "token 2 of u2 for b", "", "u2")
	})
}
