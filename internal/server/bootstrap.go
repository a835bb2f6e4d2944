package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/api/policy"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/controller"
)

// Names of what the server keeps about itself.
const (
	digestSecret = "gatehouse-digest-key"
	digestType   = "gatehouse.dev/digest-key"
	digestKey    = "key"
)

// bootstrapTries bounds how often a write is tried again that another process
// was faster with.
const bootstrapTries = 10

// bootstrapWriters is how many writes are under way at once. The store syncs
// those that wait for the disk together, so a fresh one is filled in a tenth of
// the time.
const bootstrapWriters = 32

// bootstrap makes what clients expect to find in any cluster, and brings the
// default roles up to date, as kube-apiserver does at each start. Any number of
// processes may do it at the same time.
type bootstrap struct {
	objects *objects
	// clientCAs are the files whose certificates clients may show.
	clientCAs []string
	proxies   config.RequestHeader
	// tokens is whether there are bootstrap tokens.
	tokens bool
	log    *slog.Logger
}

func (b *bootstrap) run(ctx context.Context, roles *policy.Policy) error {
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := ensure(ctx, b.objects.namespaces, ns); err != nil {
			return fmt.Errorf("making namespace %s: %w", name, err)
		}
	}
	if err := b.roles(ctx, roles); err != nil {
		return err
	}
	if b.tokens {
		if err := b.readableClusterInfo(ctx); err != nil {
			return fmt.Errorf("letting anybody read cluster-info: %w", err)
		}
	}
	return b.publishTrust(ctx)
}

// ensure creates obj unless it is there. It looks first: a store that is full
// refuses the attempt, and has to be served so that something can be deleted.
func ensure[T api.Object](ctx context.Context, store api.Objects[T], obj T) error {
	_, err := store.Get(ctx, obj.GetNamespace(), obj.GetName())
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = store.Create(ctx, obj)
	return controller.Ignore(err, apierrors.IsAlreadyExists)
}

func (b *bootstrap) roles(ctx context.Context, p *policy.Policy) error {
	o := b.objects
	aggregated(p)
	err := errors.Join(
		reconcileAll(ctx, b.log, o.clusterRoles, p.ClusterRoles, policy.ReconcileClusterRole),
		reconcileAll(ctx, b.log, o.cluster, p.ClusterRoleBindings, policy.ReconcileClusterRoleBinding),
		reconcileAll(ctx, b.log, o.roles, p.Roles, policy.ReconcileRole),
		reconcileAll(ctx, b.log, o.bindings, p.RoleBindings, policy.ReconcileRoleBinding),
	)
	if err != nil {
		return fmt.Errorf("reconciling default roles: %w", err)
	}
	return nil
}

// aggregated fills in the rules of roles that are made of others, so that a
// fresh server has them before its controllers run.
func aggregated(p *policy.Policy) {
	all := make([]*rbacv1.ClusterRole, len(p.ClusterRoles))
	for i := range p.ClusterRoles {
		all[i] = &p.ClusterRoles[i]
	}
	for settled := false; !settled; {
		settled = true
		for _, role := range all {
			if role.AggregationRule == nil {
				continue
			}
			rules, err := policy.Aggregate(role, all)
			if err == nil && len(rules) != len(role.Rules) {
				role.Rules, settled = rules, false
			}
		}
	}
}

// reconcileAll brings the stored objects up to date with the expected ones.
func reconcileAll[V any, T interface {
	*V
	api.Object
}](ctx context.Context, log *slog.Logger, store api.Objects[T], expected []V, decide func(existing, expected *V) (*V, policy.Action)) error {
	stored, err := store.List(ctx, "")
	if err != nil {
		return err
	}
	known := make(map[string]T, len(stored))
	for _, obj := range stored {
		known[obj.GetNamespace()+"/"+obj.GetName()] = obj
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(bootstrapWriters)
	for i := range expected {
		work.Go(func() error {
			want := T(&expected[i])
			have := known[want.GetNamespace()+"/"+want.GetName()]
			if err := reconcile(ctx, log, store, have, want, decide); err != nil {
				return fmt.Errorf("%s: %w", want.GetName(), err)
			}
			return nil
		})
	}
	return work.Wait()
}

func reconcile[V any, T interface {
	*V
	api.Object
}](ctx context.Context, log *slog.Logger, store api.Objects[T], have, want T, decide func(existing, expected *V) (*V, policy.Action)) error {
	var err error
	for range bootstrapTries {
		next, action := decide(have, want)
		switch action {
		case policy.Keep:
			return nil
		case policy.Skip:
			log.Warn("a default role or binding is not kept up to date, as its annotation asks", "name", want.GetName())
			return nil
		case policy.Recreate:
			if err := store.Delete(ctx, have.GetNamespace(), have.GetName(), controller.ThisOne(have)); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			_, err = store.Create(ctx, next)
		case policy.Create:
			_, err = store.Create(ctx, next)
		case policy.Update:
			_, err = store.Update(ctx, next)
		}
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return err
		}
		have, err = store.Get(ctx, want.GetNamespace(), want.GetName())
		if apierrors.IsNotFound(err) {
			have, err = nil, nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("other processes keep changing it")
}

// digestKeyBytes is the length of the key that names static credentials.
const digestKeyBytes = 32

// sharedDigestKey returns the key that names static credentials, so that every
// process on the store gives one credential the same name. It is a Secret, and
// encrypted as all of them are.
func sharedDigestKey(ctx context.Context, o *objects) ([]byte, error) {
	secret, err := o.secrets.Get(ctx, metav1.NamespaceSystem, digestSecret)
	if apierrors.IsNotFound(err) {
		key := make([]byte, digestKeyBytes)
		rand.Read(key)
		immutable := true
		secret, err = o.secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceSystem, Name: digestSecret,
				Annotations: map[string]string{"gatehouse.dev/description": "Names static credentials in audit events. Made " + time.Now().UTC().Format(time.DateOnly) + "."},
			},
			Type: digestType, Data: map[string][]byte{digestKey: key}, Immutable: &immutable,
		})
		if apierrors.IsAlreadyExists(err) {
			secret, err = o.secrets.Get(ctx, metav1.NamespaceSystem, digestSecret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key that names static credentials: %w", err)
	}
	if len(secret.Data[digestKey]) < digestKeyBytes {
		return nil, fmt.Errorf("secret %s/%s has no key of %d bytes: delete it to have a new one made", metav1.NamespaceSystem, digestSecret, digestKeyBytes)
	}
	return secret.Data[digestKey], nil
}
