// Package legacytokens takes the long-lived tokens of service accounts out of
// use that nobody uses any more: those in Secrets that were made for an account
// by itself, as before Kubernetes 1.24.
//
// The one idea: a token that has not been used for a period is first marked
// invalid, which can be taken back by removing a label, and deleted only after
// another period. What was used is known only since somebody wrote it down, so
// nothing is judged before the tracking itself, whose beginning is in a
// ConfigMap, is a period old.
//
// It refuses to touch a Secret that the account does not list, which somebody
// made on purpose; one that a Pod refers to; and one whose labels say something
// that cannot be read.
//
// Upstream: pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go
// and pkg/controlplane/controller/legacytokentracking.
package legacytokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/podrefs"
)

// Labels of a token Secret, and what keeps them.
const (
	LastUsed     = "kubernetes.io/legacy-token-last-used"
	InvalidSince = "kubernetes.io/legacy-token-invalid-since"

	// ConfigMap is the name, in kube-system, of what says since when uses are
	// written down, under the key Since.
	ConfigMap = "kube-apiserver-legacy-service-account-token-tracking"
	Since     = "since"

	day = "2006-01-02"
	// interval is how often all Secrets are judged.
	interval = 24 * time.Hour
)

// A Cleaner is the controller. All fields are required.
type Cleaner struct {
	Accounts   cache.SharedIndexInformer // of *corev1.ServiceAccount
	Secrets    cache.SharedIndexInformer // of *corev1.Secret
	Pods       cache.SharedIndexInformer // of *corev1.Pod
	ConfigMaps cache.SharedIndexInformer // of *corev1.ConfigMap

	AccountStore   controller.Objects[*corev1.ServiceAccount]
	SecretStore    controller.Objects[*corev1.Secret]
	ConfigMapStore controller.Objects[*corev1.ConfigMap]

	// Period is how long a token has to be unused.
	Period time.Duration
	Log    *slog.Logger
}

// A task is what there is to do.
type task int

const (
	track task = iota // keep the ConfigMap
	clean             // judge all Secrets
)

// Run works until ctx is done, and then returns nil.
func (c *Cleaner) Run(ctx context.Context) error {
	loop := controller.Loop[task]{
		Sources: []controller.Source[task]{
			controller.Watch(c.ConfigMaps, func(cm *corev1.ConfigMap) []task {
				if cm.Namespace != metav1.NamespaceSystem || cm.Name != ConfigMap {
					return nil
				}
				return []task{track}
			}),
			controller.Watch(c.Accounts, func(*corev1.ServiceAccount) []task { return nil }),
			controller.Watch(c.Secrets, func(*corev1.Secret) []task { return nil }),
			controller.Watch(c.Pods, func(*corev1.Pod) []task { return nil }),
			controller.Poll(interval, func() []task { return []task{track, clean} }),
		},
		Sync: func(ctx context.Context, what task) error {
			if what == track {
				return c.track(ctx)
			}
			return c.clean(ctx)
		},
		Log: c.Log,
	}
	return loop.Run(ctx)
}

// track makes the ConfigMap where there is none that can be read. From then on
// uses count as written down.
func (c *Cleaner) track(ctx context.Context) error {
	data := map[string]string{Since: time.Now().UTC().Format(day)}
	cm, err := c.ConfigMapStore.Get(ctx, metav1.NamespaceSystem, ConfigMap)
	switch {
	case apierrors.IsNotFound(err):
		_, err = c.ConfigMapStore.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: ConfigMap}, Data: data,
		})
		err = controller.Ignore(err, apierrors.IsAlreadyExists, controller.NamespaceGone)
	case err != nil:
	case !isDay(cm.Data[Since]):
		if cm.Data == nil {
			cm.Data = map[string]string{}
		}
		cm.Data[Since] = data[Since]
		_, err = c.ConfigMapStore.Update(ctx, cm)
		err = controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict)
	}
	if err != nil {
		return fmt.Errorf("keeping ConfigMap %s: %w", ConfigMap, err)
	}
	return nil
}

// trackedSince is when the first day began of which all uses are known.
func (c *Cleaner) trackedSince(ctx context.Context) (time.Time, error) {
	cm, err := c.ConfigMapStore.Get(ctx, metav1.NamespaceSystem, ConfigMap)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading ConfigMap %s: %w", ConfigMap, err)
	}
	since, err := time.Parse(day, cm.Data[Since])
	if err != nil {
		return time.Time{}, &controller.Again{After: time.Second, Reason: "the day in ConfigMap " + ConfigMap + " is being mended"}
	}
	return since.AddDate(0, 0, 1), nil
}

// clean judges all token Secrets.
func (c *Cleaner) clean(ctx context.Context) error {
	now := time.Now().UTC()
	since, err := c.trackedSince(ctx)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return &controller.Again{After: time.Second, Reason: "the ConfigMap is about to be made"}
		}
		return err
	}
	if now.Before(since.Add(c.Period)) {
		return nil
	}
	used := map[string]map[string]bool{}
	var failed []error
	for _, obj := range c.Secrets.GetIndexer().List() {
		secret, ok := obj.(*corev1.Secret)
		if !ok || !c.idle(secret, now) {
			continue
		}
		if used[secret.Namespace] == nil {
			used[secret.Namespace] = c.mounted(secret.Namespace)
		}
		if !used[secret.Namespace][secret.Name] {
			failed = append(failed, c.retire(ctx, secret, now))
		}
	}
	return errors.Join(failed...)
}

// idle reports whether a Secret has a token that was not used for the period, as
// far as its own fields say.
func (c *Cleaner) idle(s *corev1.Secret, now time.Time) bool {
	before := now.Add(-c.Period)
	if s.Type != corev1.SecretTypeServiceAccountToken || s.DeletionTimestamp != nil || !s.CreationTimestamp.Time.Before(before) {
		return false
	}
	last, labelled := s.Labels[LastUsed]
	if !labelled {
		return true // not since uses are written down
	}
	if !isDay(last) {
		c.Log.Warn("the day a token was last used cannot be read; it is left alone", "namespace", s.Namespace, "secret", s.Name)
		return false
	}
	return last < before.Format(day)
}

// mounted returns the Secrets that the Pods of a namespace refer to.
func (c *Cleaner) mounted(namespace string) map[string]bool {
	names := map[string]bool{}
	pods, err := c.Pods.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return names
	}
	for _, obj := range pods {
		if pod, ok := obj.(*corev1.Pod); ok {
			for name := range podrefs.Secrets(pod) {
				names[name] = true
			}
		}
	}
	return names
}

// retire marks an idle token as invalid, or deletes it if it has been so for the
// period. The store has the last word about it and its account.
func (c *Cleaner) retire(ctx context.Context, cached *corev1.Secret, now time.Time) error {
	secret, err := c.SecretStore.Get(ctx, cached.Namespace, cached.Name)
	if err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if secret.UID != cached.UID || !c.idle(secret, now) {
		return nil
	}
	automatic, err := c.automatic(ctx, secret)
	if err != nil || !automatic {
		return err
	}
	invalid := secret.Labels[InvalidSince]
	if !isDay(invalid) {
		c.Log.InfoContext(ctx, "marking an unused token as invalid", "namespace", secret.Namespace, "secret", secret.Name, "last_used", secret.Labels[LastUsed])
		metav1.SetMetaDataLabel(&secret.ObjectMeta, InvalidSince, now.Format(day))
		_, err := c.SecretStore.Update(ctx, secret)
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if invalid >= now.Add(-c.Period).Format(day) {
		return nil
	}
	c.Log.InfoContext(ctx, "deleting an unused token", "namespace", secret.Namespace, "secret", secret.Name,
		"last_used", secret.Labels[LastUsed], "invalid_since", invalid)
	err = c.SecretStore.Delete(ctx, secret.Namespace, secret.Name, controller.Exactly(secret))
	return controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict)
}

// automatic reports whether the account of a token lists it, as it does those
// that were made by themselves.
func (c *Cleaner) automatic(ctx context.Context, secret *corev1.Secret) (bool, error) {
	name := secret.Annotations[corev1.ServiceAccountNameKey]
	if name == "" {
		return false, nil
	}
	account, err := c.AccountStore.Get(ctx, secret.Namespace, name)
	if err != nil {
		return false, controller.Ignore(err, apierrors.IsNotFound)
	}
	if uid := secret.Annotations[corev1.ServiceAccountUIDKey]; uid != "" && uid != string(account.UID) {
		return false, nil
	}
	for _, ref := range account.Secrets {
		if ref.Name == secret.Name {
			return true, nil
		}
	}
	return false, nil
}

func isDay(text string) bool {
	_, err := time.Parse(day, text)
	return err == nil
}
