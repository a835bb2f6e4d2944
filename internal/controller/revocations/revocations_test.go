package revocations_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/revocations"
)

func TestDeletesWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore[*v1alpha1.Revocation]("revocations")
		var away atomic.Bool
		store.Before = func(verb, _, _ string) error {
			if verb == "delete" && away.Load() {
				return errors.New("the store is away")
			}
			return nil
		}
		create := func(name string, lives time.Duration) {
			r := &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RevocationSpec{User: name}}
			if lives != 0 {
				r.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(lives)}
			}
			if _, err := store.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		left := func(want ...string) {
			t.Helper()
			synctest.Wait()
			all, err := store.List(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range all {
				got = append(got, r.Name)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%q are left, want %q", got, want)
			}
		}
		create("ended", -time.Hour)
		create("hour", time.Hour)
		create("never", 0)
		c := &revocations.Controller{
			Revocations: store.Informer(), Store: store, Log: controllertest.Log(t),
			Ends: func(context.Context, string) (time.Time, error) { return time.Time{}, errors.New("there is no chain") },
		}
		controllertest.Start(t, []cache.SharedIndexInformer{c.Revocations}, c.Run)
		left("hour", "never")
		time.Sleep(time.Hour - time.Nanosecond)
		left("hour", "never")
		away.Store(true)
		time.Sleep(time.Minute)
		left("hour", "never")
		away.Store(false)
		time.Sleep(time.Minute)
		left("never")
		create("anew", time.Minute)
		time.Sleep(time.Minute)
		left("never")
	})
}

// A Revocation of a certificate stays until all have ended that were renewed from
// it, whatever it says itself.
func TestOutlivesRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore[*v1alpha1.Revocation]("revocations")
		ends, away := time.Now().Add(10*time.Hour), atomic.Bool{}
		c := &revocations.Controller{
			Revocations: store.Informer(), Store: store, Log: controllertest.Log(t),
			Ends: func(_ context.Context, chain string) (time.Time, error) {
				if away.Load() {
					return time.Time{}, errors.New("the store is away")
				}
				if chain != "7b" {
					return time.Time{}, nil // all forgotten
				}
				return ends, nil
			},
		}
		for name, chain := range map[string]string{"renewed": "7b", "forgotten": "8c", "alone": ""} {
			r := &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RevocationSpec{
				Certificate: &v1alpha1.RevokedCertificate{TBSSHA256: name, Chain: chain}, ExpiresAt: &metav1.Time{Time: time.Now().Add(time.Hour)},
			}}
			if _, err := store.Create(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		left := func(want string) {
			t.Helper()
			synctest.Wait()
			all, err := store.List(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range all {
				got = append(got, r.Name)
			}
			if slices.Sort(got); strings.Join(got, " ") != want {
				t.Errorf("%q are left, want %q", got, want)
			}
		}
		controllertest.Start(t, []cache.SharedIndexInformer{c.Revocations}, c.Run)
		left("alone forgotten renewed")
		away.Store(true)
		time.Sleep(time.Hour + time.Minute)
		left("forgotten renewed")
		away.Store(false)
		time.Sleep(time.Minute)
		left("renewed")
		time.Sleep(time.Until(ends.Add(time.Hour - time.Second)))
		left("renewed")
		time.Sleep(time.Minute)
		left("")
	})
}
