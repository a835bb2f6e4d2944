package revocations_test

import (
	"errors"
	"slices"
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
		c := &revocations.Controller{Revocations: store.Informer(), Store: store, Log: controllertest.Log(t)}
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
