package api

import (
	"context"
	"errors"
	"net/http"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// outspoken is a storage that says when it is full. The library would answer
// with an internal error in etcd's words, which tells a caller neither that it
// is no fault of theirs nor that deleting helps.
type outspoken struct{ storage.Interface }

// Create writes an object, see [storage.Interface].
func (o outspoken) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	return told(o.Interface.Create(ctx, key, obj, out, ttl))
}

// GuaranteedUpdate writes an object, see [storage.Interface].
func (o outspoken) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, cached runtime.Object,
) error {
	return told(o.Interface.GuaranteedUpdate(ctx, key, destination, ignoreNotFound, preconditions, tryUpdate, cached))
}

// told answers 507 (RFC 4918 section 11.5) when etcd has reached its quota.
func told(err error) error {
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInsufficientStorage, Reason: "InsufficientStorage",
		Message: "the store is full: nothing can be written until something is deleted, or its quota is raised",
	}}
}
