// Package trustbundle publishes whom to trust as the API server: the
// ClusterTrustBundle of the signer kubernetes.io/kube-apiserver-serving.
//
// The idea is that the name of the bundle has the digest of what is in it, so
// that a client that has read one has read that one. There is one at a time:
// the new one is made before the old one goes. An empty CA is never published,
// and nothing that is no authority.
//
// Upstream: pkg/controller/certificates/clustertrustbundlepublisher/publisher.go.
package trustbundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// Signer is the signer of the serving certificates of API servers.
const Signer = "kubernetes.io/kube-apiserver-serving"

// poll is how often CA is asked. It costs a comparison of a few kilobytes.
const poll = time.Second

// A Controller keeps the bundle as it should be. All fields are required.
type Controller struct {
	Bundles cache.SharedIndexInformer // of *certificatesv1.ClusterTrustBundle
	Store   controller.Objects[*certificatesv1.ClusterTrustBundle]
	// CA returns the certificates in PEM. It is asked every second, and what it
	// returns must not be changed afterwards.
	CA  func() []byte
	Log *slog.Logger
}

// A key stands for the one bundle.
type key struct{}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	var last []byte
	reloaded := func() []key {
		ca := c.CA()
		if bytes.Equal(ca, last) {
			return nil
		}
		last = ca
		return []key{{}}
	}
	loop := controller.Loop[key]{
		Sources: []controller.Source[key]{
			controller.Watch(c.Bundles, func(b *certificatesv1.ClusterTrustBundle) []key {
				if b.Spec.SignerName != Signer {
					return nil
				}
				return []key{{}}
			}),
			controller.Poll(poll, reloaded),
		},
		Sync:    c.sync,
		Workers: 1,
		Log:     c.Log,
	}
	return loop.Run(ctx)
}

// sync makes the bundle, and then deletes the others of the signer.
func (c *Controller) sync(ctx context.Context, _ key) error {
	ca := c.CA()
	if len(ca) == 0 {
		return nil
	}
	name := Name(ca)
	err := c.publish(ctx, name, string(ca))
	if apierrors.IsInvalid(err) {
		c.Log.WarnContext(ctx, "what clients shall trust is no bundle of CA certificates, so it is not published as one: see --root-ca-file", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("publishing %s: %w", name, err)
	}
	var failed []error
	for _, obj := range c.Bundles.GetIndexer().List() {
		b, ok := obj.(*certificatesv1.ClusterTrustBundle)
		if !ok || b.Spec.SignerName != Signer || b.Name == name {
			continue
		}
		if err := controller.Ignore(c.Store.Delete(ctx, "", b.Name, controller.ThisOne(b)), apierrors.IsNotFound, apierrors.IsConflict); err != nil {
			failed = append(failed, fmt.Errorf("deleting %s: %w", b.Name, err))
		}
	}
	return errors.Join(failed...)
}

// publish makes the bundle of a name, or puts back what is in it.
func (c *Controller) publish(ctx context.Context, name, text string) error {
	cached, ok := controller.Cached[*certificatesv1.ClusterTrustBundle](c.Bundles, "", name)
	if !ok {
		_, err := c.Store.Create(ctx, &certificatesv1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: Signer, TrustBundle: text},
		})
		return controller.Ignore(err, apierrors.IsAlreadyExists)
	}
	if cached.Spec.TrustBundle == text {
		return nil
	}
	bundle := cached.DeepCopy()
	bundle.Spec.TrustBundle = text
	_, err := c.Store.Update(ctx, bundle)
	return err
}

// Name returns the name of the bundle with this text.
func Name(text []byte) string {
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s:%x", strings.ReplaceAll(Signer, "/", ":"), sum[:12])
}
