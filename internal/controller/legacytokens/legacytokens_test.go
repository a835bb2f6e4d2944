package legacytokens_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/legacytokens"
)

const (
	oneDay = 24 * time.Hour
	period = 10 * oneDay
)

type world struct {
	t        *testing.T
	accounts *controllertest.Store[*corev1.ServiceAccount]
	secrets  *controllertest.Store[*corev1.Secret]
	pods     *controllertest.Store[*corev1.Pod]
	configs  *controllertest.Store[*corev1.ConfigMap]
}

func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, &world{t,
			controllertest.NewStore[*corev1.ServiceAccount]("serviceaccounts"), controllertest.NewStore[*corev1.Secret]("secrets"),
			controllertest.NewStore[*corev1.Pod]("pods"), controllertest.NewStore[*corev1.ConfigMap]("configmaps"),
		})
	})
}

// start runs n cleaners over the stores.
func (w *world) start(n int) {
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &legacytokens.Cleaner{
			Accounts: w.accounts.Informer(), Secrets: w.secrets.Informer(), Pods: w.pods.Informer(), ConfigMaps: w.configs.Informer(),
			AccountStore: w.accounts, SecretStore: w.secrets, ConfigMapStore: w.configs,
			Period: period, Log: controllertest.Log(w.t),
		}
		informers = append(informers, c.Accounts, c.Secrets, c.Pods, c.ConfigMaps)
		runs = append(runs, c.Run)
	}
	controllertest.Start(w.t, informers, runs...)
}

func create[T controllertest.Object](w *world, store *controllertest.Store[T], obj T) {
	w.t.Helper()
	if _, err := store.Create(w.t.Context(), obj); err != nil {
		w.t.Fatal(err)
	}
}

// token makes an account that lists a token Secret, which is as it should be for
// being cleaned up, but for change.
func (w *world) token(change func(*corev1.Secret, *corev1.ServiceAccount, *corev1.Pod)) {
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bot", UID: "u1"},
		Secrets:    []corev1.ObjectReference{{Name: "other"}, {Name: "bot-token"}},
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bot-token", Labels: map[string]string{}, Annotations: map[string]string{
			"kubernetes.io/service-account.name": "bot", "kubernetes.io/service-account.uid": "u1",
		}},
		Type: corev1.SecretTypeServiceAccountToken,
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod"}}
	change(secret, account, pod)
	create(w, w.accounts, account)
	create(w, w.secrets, secret)
	create(w, w.pods, pod)
}

func (w *world) secret() *corev1.Secret {
	w.t.Helper()
	synctest.Wait()
	s, err := w.secrets.Get(w.t.Context(), "ns", "bot-token")
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return s
}

func daysFromNow(n int) string { return time.Now().UTC().AddDate(0, 0, n).Format("2006-01-02") }

// TestCleaner walks one token to its end: nothing before the tracking is a period
// old, then marked, then deleted.
func TestCleaner(t *testing.T) {
	for _, processes := range []int{1, 2} {
		bubble(t, func(t *testing.T, w *world) {
			w.token(func(*corev1.Secret, *corev1.ServiceAccount, *corev1.Pod) {})
			w.start(processes)
			time.Sleep(time.Minute)
			cm, err := w.configs.Get(t.Context(), "kube-system", legacytokens.ConfigMap)
			if err != nil || cm.Data["since"] != daysFromNow(0) {
				t.Fatalf("the ConfigMap says %v, %v", cm, err)
			}
			time.Sleep(period)
			if s := w.secret(); s == nil || s.Labels[legacytokens.InvalidSince] != "" {
				t.Fatalf("within the first period: %v", s)
			}
			time.Sleep(2 * oneDay)
			s := w.secret()
			if s == nil || s.Labels[legacytokens.InvalidSince] == "" {
				t.Fatalf("after the first period: %v", s)
			}
			time.Sleep(period - oneDay)
			if w.secret() == nil {
				t.Fatal("deleted within the second period")
			}
			time.Sleep(3 * oneDay)
			if s := w.secret(); s != nil {
				t.Fatalf("after the second period: %v", s)
			}
		})
	}
}

func TestCleanerLeavesAlone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*corev1.Secret, *corev1.ServiceAccount, *corev1.Pod)
	}{
		{"other type", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) { s.Type = corev1.SecretTypeOpaque }},
		{"manual", func(_ *corev1.Secret, a *corev1.ServiceAccount, _ *corev1.Pod) { a.Secrets = a.Secrets[:1] }},
		{"no account", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			delete(s.Annotations, "kubernetes.io/service-account.name")
		}},
		{"account that is gone", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			s.Annotations["kubernetes.io/service-account.name"] = "gone"
		}},
		{"older account", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			s.Annotations["kubernetes.io/service-account.uid"] = "u0"
		}},
		{"used lately", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			s.Labels[legacytokens.LastUsed] = daysFromNow(9)
		}},
		{"used on a day that cannot be read", func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			s.Labels[legacytokens.LastUsed] = "yesterday"
		}},
		{"in a volume", func(_ *corev1.Secret, _ *corev1.ServiceAccount, p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "bot-token"}}}}
		}},
		{"in an environment", func(_ *corev1.Secret, _ *corev1.ServiceAccount, p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "bot-token"}}}}}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.token(tt.change)
				w.start(1)
				time.Sleep(period + 3*oneDay)
				if s := w.secret(); s == nil || s.Labels[legacytokens.InvalidSince] != "" {
					t.Errorf("it was touched: %v", s)
				}
			})
		})
	}
}

// TestCleanerMarks says of which Secrets the mark is written anew, kept, or
// taken back by hand.
func TestCleanerMarks(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.token(func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
			s.Labels[legacytokens.InvalidSince] = "never"
			s.Labels[legacytokens.LastUsed] = daysFromNow(0)
		})
		w.start(1)
		time.Sleep(period + 2*oneDay)
		s := w.secret()
		if s == nil || s.Labels[legacytokens.InvalidSince] == "never" {
			t.Fatalf("a mark that cannot be read: %v", s)
		}
		// Somebody needs it still: the mark is gone, and the use of today counts.
		delete(s.Labels, legacytokens.InvalidSince)
		s.Labels[legacytokens.LastUsed] = daysFromNow(0)
		if _, err := w.secrets.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(period - oneDay)
		if s := w.secret(); s == nil || s.Labels[legacytokens.InvalidSince] != "" {
			t.Errorf("a token that is used again: %v", s)
		}
	})
}

// TestTracking says that the ConfigMap is made again, from that day on, and that
// what cannot be read in it is.
func TestTracking(t *testing.T) {
	for _, how := range []string{"deleted", "unreadable"} {
		bubble(t, func(t *testing.T, w *world) {
			w.token(func(*corev1.Secret, *corev1.ServiceAccount, *corev1.Pod) {})
			w.start(1)
			time.Sleep(period - time.Hour)
			cm, err := w.configs.Get(t.Context(), "kube-system", legacytokens.ConfigMap)
			if err != nil {
				t.Fatal(err)
			}
			if cm.Data = nil; how == "deleted" {
				err = w.configs.Delete(t.Context(), "kube-system", legacytokens.ConfigMap, metav1.DeleteOptions{})
			} else {
				_, err = w.configs.Update(t.Context(), cm)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if cm, err = w.configs.Get(t.Context(), "kube-system", legacytokens.ConfigMap); err != nil || cm.Data["since"] != daysFromNow(0) {
				t.Errorf("%s: %v, %v", how, cm, err)
			}
			time.Sleep(period)
			if s := w.secret(); s.Labels[legacytokens.InvalidSince] != "" {
				t.Errorf("%s: judged by uses that nobody wrote down", how)
			}
		})
	}
}

func TestMarker(t *testing.T) {
	for _, tt := range []struct {
		name, label, want string
	}{
		{"first use", "", "2030-05-02"},
		{"later use", "2030-05-01", "2030-05-02"},
		{"unreadable", "zzz", "2030-05-02"},
		{"same day", "2030-05-02", "2030-05-02"},
		{"another process's tomorrow", "2030-05-03", "2030-05-03"},
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.token(func(s *corev1.Secret, _ *corev1.ServiceAccount, _ *corev1.Pod) {
				s.Labels[legacytokens.LastUsed] = tt.label
			})
			m := legacytokens.NewMarker(w.secrets, controllertest.Log(t))
			controllertest.Start(t, nil, func(ctx context.Context) error { m.Run(ctx); return nil })
			before := w.secrets.Writes()
			m.Used(t.Context(), "ns", "gone", "2030-05-02")
			m.Used(t.Context(), "ns", "bot-token", "2030-05-02")
			m.Used(t.Context(), "ns", "bot-token", "2030-05-02")
			if got := w.secret().Labels[legacytokens.LastUsed]; got != tt.want {
				t.Errorf("%s: label %q, want %q", tt.name, got, tt.want)
			}
			writes := 0
			if tt.label != tt.want {
				writes = 1
			}
			if n := w.secrets.Writes() - before; n != writes {
				t.Errorf("%s: %d writes, want %d", tt.name, n, writes)
			}
		})
	}
}

// TestMarkerDoesNotWait says that nobody waits for a store that is slow, and that
// a use which got lost is told again.
func TestMarkerDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.token(func(*corev1.Secret, *corev1.ServiceAccount, *corev1.Pod) {})
		m := legacytokens.NewMarker(w.secrets, controllertest.Log(t))
		down := true
		w.secrets.Before = func(verb, _, _ string) error {
			if verb == "get" && down {
				return errors.New("down")
			}
			return nil
		}
		for range 1000 {
			m.Used(t.Context(), "ns", "bot-token", "2030-05-02")
		}
		controllertest.Start(t, nil, func(ctx context.Context) error { m.Run(ctx); return nil })
		synctest.Wait()
		down = false
		m.Used(t.Context(), "ns", "bot-token", "2030-05-02")
		if got := w.secret().Labels[legacytokens.LastUsed]; got != "2030-05-02" {
			t.Errorf("label %q", got)
		}
	})
}
