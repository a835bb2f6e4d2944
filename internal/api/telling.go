package api

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// telling is a storage that tells of each write before it is acknowledged.
type telling struct {
	storage.Interface
	tell func(ctx context.Context, created bool) error
}

// Create writes an object, see [storage.Interface].
func (s telling) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	return s.told(ctx, s.Interface.Create(ctx, key, obj, out, ttl), true)
}

// GuaranteedUpdate writes an object, see [storage.Interface].
func (s telling) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, cached runtime.Object,
) error {
	created := false // by server-side apply
	try := func(in runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
		created = meta.ResourceVersion == 0
		return tryUpdate(in, meta)
	}
	err := s.Interface.GuaranteedUpdate(ctx, key, destination, ignoreNotFound, preconditions, try, cached)
	return s.told(ctx, err, created)
}

// Delete removes an object, see [storage.Interface].
func (s telling) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, cached runtime.Object, opts storage.DeleteOptions,
) error {
	return s.told(ctx, s.Interface.Delete(ctx, key, out, preconditions, validate, cached, opts), false)
}

// told tells of a write that has succeeded.
func (s telling) told(ctx context.Context, err error, created bool) error {
	if err != nil {
		return err
	}
	if err := s.tell(ctx, created); err != nil {
		return fmt.Errorf("it is written, but: %w", err)
	}
	return nil
}
