package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// An Ending deletes objects whose time is over. It looks at the store itself
// before, and deletes only what it has seen there: whoever gives an object more
// time at the last moment wins.
type Ending[T metav1.Object] struct {
	// What is what the objects are called in errors and in the log, such as
	// "revocation".
	What  string
	Cache cache.SharedIndexInformer // of T
	Store Objects[T]
	// Left returns how much time an object has, and whether its time is bounded at
	// all. It is called with objects that are not to be deleted too.
	Left func(T) (left time.Duration, bounded bool)
	// About, which may be nil, says in the log what an object was about, as nobody
	// can look any more.
	About func(T) string
	Log   *slog.Logger
}

// Sync deletes the object of a name if its time is over, and otherwise comes back
// when it will be.
func (e *Ending[T]) Sync(ctx context.Context, namespace, name string) error {
	cached, ok := Cached[T](e.Cache, namespace, name)
	if !ok {
		return nil
	}
	if over, err := e.over(cached); !over {
		return err
	}
	object, err := e.Store.Get(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at a %s whose time is over: %w", e.What, err)
	}
	if over, err := e.over(object); !over {
		return err
	}
	err = e.Store.Delete(ctx, namespace, name, Exactly(object))
	// If it changed since, that is an event, and it will be looked at again.
	if err := Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		return fmt.Errorf("deleting a %s whose time is over: %w", e.What, err)
	}
	if err != nil {
		return nil
	}
	log := e.Log.With("name", name)
	if e.About != nil {
		log = log.With("about", e.About(object))
	}
	log.InfoContext(ctx, "deleted a "+e.What+" whose time is over")
	return nil
}

// over reports whether the time of an object is over, and it is not being deleted
// yet. It returns an [Again] for one that has some left.
func (e *Ending[T]) over(object T) (bool, error) {
	left, bounded := e.Left(object)
	if bounded && left > 0 {
		return false, &Again{After: left, Reason: "the time of the " + e.What + " is not over"}
	}
	return bounded && object.GetDeletionTimestamp() == nil, nil
}
