// Package clusterinfo keeps the ConfigMap cluster-info of kube-public, from which
// a machine that has nothing but a bootstrap token learns where the server is
// and which CA to trust.
//
// The idea is that anybody may read it and nobody has to believe it: each token
// that may sign signs the kubeconfig in it, so that who knows the token can tell
// that it was not made up on the way. The signatures are this controller's
// alone. They follow the tokens and the kubeconfig, and one goes when its token
// expires. The kubeconfig is this controller's only as long as it says what the
// controller wrote: what somebody else put there is signed as it is.
//
// It refuses to sign with a token that could be guessed from its signature, and
// to publish a server without a CA.
//
// Upstream: pkg/controller/bootstrap/bootstrapsigner.go, and for the ConfigMap
// itself, which there kubeadm makes, cmd/kubeadm/app/phases/bootstraptoken.
package clusterinfo

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/controller"
)

// What the ConfigMap looks like (k8s.io/cluster-bootstrap token/api).
const (
	name          = "cluster-info"
	kubeconfigKey = "kubeconfig"
	// signaturePrefix begins the key of a signature, and is followed by the ID of
	// the token that made it.
	signaturePrefix = "jws-kubeconfig-"
)

// poll is how often CA is asked. It costs a comparison of a few kilobytes.
const poll = time.Second

// byToken is the index of Secrets that has those of bootstrap tokens, all under
// one value.
const byToken = "gatehouse.dev/bootstrap-tokens"

// A Controller keeps the ConfigMap as it should be. All fields are required.
type Controller struct {
	Secrets    cache.SharedIndexInformer // of *corev1.Secret; gets an index
	ConfigMaps cache.SharedIndexInformer // of *corev1.ConfigMap
	Store      controller.Objects[*corev1.ConfigMap]
	// Server is the URL that machines reach the server by.
	Server string
	// CA returns the certificates to trust in PEM, or nothing if none are known.
	// It is asked every second, and what it returns must not be changed
	// afterwards.
	CA  func() []byte
	Log *slog.Logger

	// indexed is whether Secrets has its index. The informer must not be asked:
	// it is shared with others who add theirs.
	indexed bool
}

// A key stands for the one ConfigMap.
type key struct{}

// Run works until ctx is done, and then returns nil. It may be called again
// when it has returned.
func (c *Controller) Run(ctx context.Context) error {
	if !c.indexed {
		if err := c.Secrets.AddIndexers(cache.Indexers{byToken: indexToken}); err != nil {
			return err
		}
		c.indexed = true
	}
	last := c.CA()
	if len(last) == 0 {
		c.Log.WarnContext(ctx, "no CA is known that machines could trust, so "+name+" is not made: give --root-ca-file, or make it as kubeadm does")
	}
	first := true // so that there is something to do where there is no token yet
	reloaded := func() []key {
		ca := c.CA()
		if !first && bytes.Equal(ca, last) {
			return nil
		}
		first, last = false, ca
		return []key{{}}
	}
	loop := controller.Loop[key]{
		Sources: []controller.Source[key]{
			controller.Watch(c.Secrets, func(s *corev1.Secret) []key { return keyIf(isToken(s)) }),
			controller.Watch(c.ConfigMaps, func(cm *corev1.ConfigMap) []key {
				return keyIf(cm.Namespace == metav1.NamespacePublic && cm.Name == name)
			}),
			controller.Poll(poll, reloaded),
		},
		Sync:    c.sync,
		Workers: 1,
		Log:     c.Log,
	}
	return loop.Run(ctx)
}

func keyIf(concerns bool) []key {
	if concerns {
		return []key{{}}
	}
	return nil
}

// sync makes the ConfigMap as it should be, and comes back when the next token
// expires.
func (c *Controller) sync(ctx context.Context, _ key) error {
	tokens, next := c.tokens(time.Now())
	if err := c.write(ctx, tokens); err != nil {
		return err
	}
	if left := time.Until(next); !next.IsZero() {
		return &controller.Again{After: max(left, 1), Reason: "the next token has not expired"}
	}
	return nil
}

func (c *Controller) write(ctx context.Context, tokens map[string][]byte) error {
	ours, err := kubeconfig(c.Server, c.CA())
	if err != nil {
		return err
	}
	cached, ok := controller.Cached[*corev1.ConfigMap](c.ConfigMaps, metav1.NamespacePublic, name)
	if !ok {
		return c.create(ctx, ours, tokens)
	}
	cm := cached.DeepCopy()
	if ours != "" && unchanged(cm) {
		put(cm, ours)
	}
	sign(cm, tokens)
	if maps.Equal(cm.Data, cached.Data) && maps.Equal(cm.Annotations, cached.Annotations) || cached.DeletionTimestamp != nil {
		return nil
	}
	if cached.Immutable != nil && *cached.Immutable {
		c.Log.WarnContext(ctx, "the ConfigMap "+name+" is immutable, so tokens cannot sign it: delete it, and it is made anew")
		return nil
	}
	_, err = c.Store.Update(ctx, cm)
	// Once it is gone that is an event.
	if err := controller.Ignore(err, apierrors.IsNotFound); err != nil {
		return fmt.Errorf("updating %s: %w", name, err)
	}
	return nil
}

// create makes the ConfigMap where there is none.
func (c *Controller) create(ctx context.Context, ours string, tokens map[string][]byte) error {
	if ours == "" {
		return nil
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: name}}
	put(cm, ours)
	sign(cm, tokens)
	_, err := c.Store.Create(ctx, cm)
	if err := controller.Ignore(err, apierrors.IsAlreadyExists, controller.NamespaceGone); err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	return nil
}

// tokens returns the secrets of the tokens that may sign, by their IDs, and when
// the first of them expires, or zero if none does.
func (c *Controller) tokens(now time.Time) (map[string][]byte, time.Time) {
	// An error would mean that there is no such index.
	objs, _ := c.Secrets.GetIndexer().ByIndex(byToken, "")
	tokens, next := map[string][]byte{}, time.Time{}
	for _, obj := range objs {
		secret, ok := obj.(*corev1.Secret)
		if !ok {
			continue
		}
		s := &bootstrap.Secret{Type: string(secret.Type), Deleted: secret.DeletionTimestamp != nil, Data: secret.Data}
		id, value, ok := s.Signer(secret.Name, now)
		if !ok {
			continue
		}
		tokens[id] = value
		if end, ends := s.Expiration(); ends && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return tokens, next
}

// sign replaces the signatures of a ConfigMap. Without a kubeconfig there is
// nothing to sign, and it is left as it is.
func sign(cm *corev1.ConfigMap, tokens map[string][]byte) {
	content, ok := cm.Data[kubeconfigKey]
	if !ok {
		return
	}
	for key := range cm.Data {
		if strings.HasPrefix(key, signaturePrefix) {
			delete(cm.Data, key)
		}
	}
	for id, secret := range tokens {
		cm.Data[signaturePrefix+id] = bootstrap.Sign(content, id, secret)
	}
}

func isToken(s *corev1.Secret) bool {
	return s.Namespace == bootstrap.Namespace && s.Type == bootstrap.SecretType
}

func indexToken(obj any) ([]string, error) {
	if s, ok := obj.(*corev1.Secret); ok && isToken(s) {
		return []string{""}, nil
	}
	return nil, nil
}
