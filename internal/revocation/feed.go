package revocation

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

const (
	// confirmAfter is how long a watch may take to bring what this process has
	// written itself, before the store is asked about it.
	confirmAfter = time.Minute
	// confirmTimeout bounds one such question.
	confirmTimeout = 10 * time.Second
)

// A Feed keeps an index as the store is: with what this process writes, before
// that is answered, and with what the watch brings of the other processes. Use
// [NewFeed].
type Feed struct {
	index *Index
	// get returns a Revocation as the store has it now, or an API error.
	get func(ctx context.Context, name string) (*v1alpha1.Revocation, error)
	log *slog.Logger

	mu sync.Mutex
	// brought is what the watch has brought, or nil before it is followed.
	brought cache.Store
	// unseen are those that this process has written and the watch has not
	// brought yet. What is deleted elsewhere while the watch is interrupted it
	// never brings at all.
	unseen map[types.UID]unseen
	// unread are those that are not understood, and so are not in force.
	unread map[types.UID]error
}

type unseen struct {
	revocation *v1alpha1.Revocation
	since      time.Time
}

// NewFeed returns a feed of an index.
func NewFeed(x *Index, get func(ctx context.Context, name string) (*v1alpha1.Revocation, error), log *slog.Logger) *Feed {
	return &Feed{index: x, get: get, log: log, unseen: map[types.UID]unseen{}, unread: map[types.UID]error{}}
}

// Created has in force what this process has written.
func (f *Feed) Created(r *v1alpha1.Revocation) {
	f.mu.Lock()
	if !f.hasBrought(r) {
		f.unseen[r.UID] = unseen{r, time.Now()}
	}
	f.mu.Unlock()
	f.put(r)
}

// hasBrought reports whether the watch has brought r already: it may be faster
// than the answer to who has written it. What it brings from now on it tells of
// once the lock is free.
func (f *Feed) hasBrought(r *v1alpha1.Revocation) bool {
	if f.brought == nil {
		return false
	}
	obj, found, err := f.brought.GetByKey(r.Name)
	have, ok := obj.(*v1alpha1.Revocation)
	return err == nil && found && ok && have.UID == r.UID
}

// Deleted lifts what this process has deleted.
func (f *Feed) Deleted(r *v1alpha1.Revocation) { f.remove(r) }

// Follow has the watch of an informer feed the index. The function that it
// returns reports whether all that there was has come.
func (f *Feed) Follow(informer cache.SharedIndexInformer) (func() bool, error) {
	f.mu.Lock()
	f.brought = informer.GetStore()
	f.mu.Unlock()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if r, ok := obj.(*v1alpha1.Revocation); ok {
				f.seen(r)
				f.put(r)
			}
		},
		DeleteFunc: func(obj any) {
			if missed, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = missed.Obj
			}
			if r, ok := obj.(*v1alpha1.Revocation); ok {
				f.remove(r)
			}
		},
		// One of the same name made anew while the watch was interrupted comes
		// as a change.
		UpdateFunc: func(old, obj any) {
			before, wasOne := old.(*v1alpha1.Revocation)
			r, isOne := obj.(*v1alpha1.Revocation)
			if !wasOne || !isOne || before.UID == r.UID {
				return
			}
			f.seen(r)
			f.put(r)
			f.remove(before)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("following revocations: %w", err)
	}
	return registration.HasSynced, nil
}

func (f *Feed) seen(r *v1alpha1.Revocation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unseen, r.UID)
}

func (f *Feed) put(r *v1alpha1.Revocation) {
	err := f.index.Put(r)
	if err == nil {
		return
	}
	f.mu.Lock()
	f.unread[r.UID] = err
	f.mu.Unlock()
	f.log.Error("a revocation is not understood, so it is not in force: upgrade this server, or delete it", "err", err)
}

func (f *Feed) remove(r *v1alpha1.Revocation) {
	f.index.Remove(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unseen, r.UID)
	delete(f.unread, r.UID)
}

// Problem returns why a Revocation is not in force that is in the store, or nil.
func (f *Feed) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, err := range f.unread {
		return err
	}
	return nil
}

// Run asks the store about what the watch does not bring, until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	tick := time.NewTicker(confirmAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.confirm(ctx)
		}
	}
}

func (f *Feed) confirm(ctx context.Context) {
	f.mu.Lock()
	var late []*v1alpha1.Revocation
	for _, u := range f.unseen {
		if time.Since(u.since) >= confirmAfter {
			late = append(late, u.revocation)
		}
	}
	f.mu.Unlock()
	for _, r := range late {
		asking, cancel := context.WithTimeout(ctx, confirmTimeout)
		found, err := f.get(asking, r.Name)
		cancel()
		if apierrors.IsNotFound(err) || err == nil && found.UID != r.UID {
			f.remove(r)
		}
	}
}
