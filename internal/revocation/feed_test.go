package revocation_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/revocation"
)

// An informer hands on what it is told to.
type informer struct {
	cache.SharedIndexInformer
	cache.ResourceEventHandler
	store cache.Store
}

func (i *informer) GetStore() cache.Store { return i.store }

type registration struct {
	cache.ResourceEventHandlerRegistration
}

func (registration) HasSynced() bool { return true }

func (i *informer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	i.ResourceEventHandler = h
	return registration{}, nil
}

// followed is a feed that follows an informer.
func followed(t *testing.T, get func(string) (*v1alpha1.Revocation, error)) (*revocation.Index, *revocation.Feed, *informer) {
	t.Helper()
	x, i := revocation.New(), &informer{store: cache.NewStore(cache.MetaNamespaceKeyFunc)}
	f := revocation.NewFeed(x, func(_ context.Context, name string) (*v1alpha1.Revocation, error) { return get(name) }, slog.New(slog.DiscardHandler))
	synced, err := f.Follow(i)
	if err != nil || !synced() {
		t.Fatal(err)
	}
	return x, f, i
}

func named(name string) *identity.Identity { return &identity.Identity{Name: name} }

func TestFeed(t *testing.T) {
	x, f, i := followed(t, nil)
	old, later := revoke("old", spec{User: "old"}), revoke("later", spec{User: "later"})
	i.OnAdd(old, true)
	i.OnAdd(later, false)
	if x.Judge(named("old")) == nil || x.Judge(named("later")) == nil {
		t.Error("what the watch brought is not in force")
	}
	anew := revoke("later", spec{User: "anew"})
	anew.UID = "another"
	i.OnUpdate(later, anew)
	if x.Judge(named("later")) != nil || x.Judge(named("anew")) == nil {
		t.Error("one of the same name that was made anew does not replace the other")
	}
	i.OnUpdate(anew, anew.DeepCopy())
	i.OnDelete(cache.DeletedFinalStateUnknown{Key: "old", Obj: old})
	if err := x.Judge(named("old")); err != nil || f.Problem() != nil || x.Judge(named("anew")) == nil {
		t.Errorf("deleted: %v, %v", err, f.Problem())
	}
}

// What is not understood is told for as long as it is there.
func TestFeedOfWhatIsNotUnderstood(t *testing.T) {
	_, f, i := followed(t, nil)
	strange := revoke("strange", spec{})
	i.OnAdd(strange, true)
	if f.Problem() == nil {
		t.Error("a Revocation of nothing is passed over")
	}
	i.OnDelete(strange)
	if err := f.Problem(); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

// What this process writes is in force at once. If the watch never brings it, the
// store is asked, and it is lifted only if it is not there.
func TestFeedOfOwnWrites(t *testing.T) {
	for _, tt := range []struct {
		name   string
		get    func(string) (*v1alpha1.Revocation, error)
		lifted bool
	}{
		{"there", func(string) (*v1alpha1.Revocation, error) { return revoke("own", spec{}), nil }, false},
		{"gone", func(name string) (*v1alpha1.Revocation, error) {
			return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
		}, true},
		{"another of that name", func(string) (*v1alpha1.Revocation, error) { return revoke("other", spec{}), nil }, true},
		{"not known", func(string) (*v1alpha1.Revocation, error) { return nil, errors.New("the store is away") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, f, i := followed(t, tt.get)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go f.Run(ctx)
				f.Created(revoke("own", spec{User: "own"}))
				seen := revoke("seen", spec{User: "seen"})
				f.Created(seen)
				if x.Judge(named("own")) == nil || x.Judge(named("seen")) == nil {
					t.Error("not in force at once")
				}
				i.OnAdd(seen, false)
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if got := x.Judge(named("own")) == nil; got != tt.lifted || x.Judge(named("seen")) == nil {
					t.Errorf("lifted %t, want %t", got, tt.lifted)
				}
				f.Deleted(seen)
				i.OnAdd(seen, false) // late
				if x.Judge(named("seen")) != nil {
					t.Error("deleted, and in force")
				}
			})
		})
	}
}

// The watch may bring what this process writes before it is told that it is
// written. The store is not asked about it.
func TestFeedOfWhatTheWatchBringsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		_, f, i := followed(t, func(name string) (*v1alpha1.Revocation, error) {
			asked++
			return revoke(name, spec{}), nil
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go f.Run(ctx)
		first, other := revoke("first", spec{User: "first"}), revoke("other", spec{User: "other"})
		older := revoke("other", spec{User: "other"})
		older.UID = "older"
		for _, r := range []*v1alpha1.Revocation{first, older} {
			if err := i.store.Add(r); err != nil {
				t.Fatal(err)
			}
			i.OnAdd(r, false)
		}
		f.Created(first)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if asked != 0 {
			t.Errorf("the store was asked %d times about what the watch has brought", asked)
		}
		f.Created(other) // of the name of one that the watch has brought
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if asked == 0 {
			t.Error("the store was not asked about what the watch has not brought")
		}
	})
}
