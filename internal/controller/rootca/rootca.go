// Package rootca gives every active namespace the ConfigMap kube-root-ca.crt,
// from which pods learn the CA of the API server.
//
// The idea is that the ConfigMap is the server's alone: its data is put back
// whatever anybody writes to it, because whoever could change it could make the
// pods of the namespace trust another server. That includes one that was made
// immutable: it is deleted and made again. An empty CA is never published.
//
// Upstream: pkg/controller/certificates/rootcacertpublisher/publisher.go.
package rootca

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// What the ConfigMap looks like; clients rely on the first two.
const (
	// Name is the name of the ConfigMap.
	Name = "kube-root-ca.crt"
	// Key is the only key of its data.
	Key = "ca.crt"

	descriptionKey = "kubernetes.io/description"
	description    = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// poll is how often CA is asked. It costs a comparison of a few kilobytes.
const poll = time.Second

// A Controller keeps the ConfigMap as it should be. All fields are required.
type Controller struct {
	Namespaces cache.SharedIndexInformer // of *corev1.Namespace
	ConfigMaps cache.SharedIndexInformer // of *corev1.ConfigMap
	Store      controller.Objects[*corev1.ConfigMap]
	// CA returns the certificates in PEM. It is asked every second, and what it
	// returns must not be changed afterwards.
	CA  func() []byte
	Log *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	last := c.CA()
	reloaded := func() []string {
		if ca := c.CA(); !bytes.Equal(ca, last) {
			last = ca
			return c.Namespaces.GetIndexer().ListKeys()
		}
		return nil
	}
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{
			controller.Watch(c.Namespaces, func(ns *corev1.Namespace) []string { return []string{ns.Name} }),
			controller.Watch(c.ConfigMaps, func(cm *corev1.ConfigMap) []string {
				if cm.Name != Name {
					return nil
				}
				return []string{cm.Namespace}
			}),
			controller.Poll(poll, reloaded),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// sync makes the ConfigMap of a namespace as it should be.
func (c *Controller) sync(ctx context.Context, namespace string) error {
	ca := c.CA()
	ns, ok := controller.Cached[*corev1.Namespace](c.Namespaces, "", namespace)
	if len(ca) == 0 || !ok || ns.Status.Phase != corev1.NamespaceActive {
		return nil
	}
	data := map[string]string{Key: string(ca)}
	cached, ok := controller.Cached[*corev1.ConfigMap](c.ConfigMaps, namespace, Name)
	switch {
	case !ok:
		return c.create(ctx, namespace, data)
	case maps.Equal(cached.Data, data) && len(cached.BinaryData) == 0:
		if cached.Annotations[descriptionKey] != "" {
			return nil
		}
	case cached.Immutable != nil && *cached.Immutable:
		c.Log.WarnContext(ctx, "replacing immutable root CA", "namespace", namespace)
		err := c.Store.Delete(ctx, namespace, Name, controller.Exactly(cached))
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	cm := cached.DeepCopy()
	cm.Data, cm.BinaryData = data, nil
	metav1.SetMetaDataAnnotation(&cm.ObjectMeta, descriptionKey, description)
	if _, err := c.Store.Update(ctx, cm); err != nil {
		return fmt.Errorf("restoring root CA: %w", err)
	}
	return nil
}

// create makes the ConfigMap where there is none.
func (c *Controller) create(ctx context.Context, namespace string, data map[string]string) error {
	_, err := c.Store.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   namespace,
			Name:        Name,
			Annotations: map[string]string{descriptionKey: description},
		},
		Data: data,
	})
	if err := controller.Ignore(err, apierrors.IsAlreadyExists, controller.NamespaceGone); err != nil {
		return fmt.Errorf("publishing root CA: %w", err)
	}
	return nil
}
