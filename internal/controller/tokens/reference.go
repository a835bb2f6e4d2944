package tokens

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"gatehouse.dev/gatehouse/internal/controller"
)

const (
	// suffixLength and maxBase are those of generated names
	// (k8s.io/apiserver/pkg/storage/names).
	suffixLength = 5
	maxBase      = 63 - suffixLength
	// suffixLetters are those of utilrand.String.
	suffixLetters = "bcdfghjklmnpqrstvwxz2456789"
	// cleanup is how long a Secret that could not be referenced is tried to be
	// deleted, even when the process is stopping.
	cleanup = 5 * time.Second
)

// unreference removes a token Secret from the list of an account, if it is not
// there any more.
func (c *Controller) unreference(ctx context.Context, namespace, account, secret string) error {
	_, err := c.SecretStore.Get(ctx, namespace, secret)
	if !apierrors.IsNotFound(err) {
		return err
	}
	live, err := c.AccountStore.Get(ctx, namespace, account)
	if err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if !refers(live, secret) {
		return nil
	}
	live.Secrets = slices.DeleteFunc(live.Secrets, func(ref corev1.ObjectReference) bool { return ref.Name == secret })
	if _, err := c.AccountStore.Update(ctx, live); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing reference to token secret %s/%s: %w", namespace, secret, err)
	}
	return nil
}

// tidy removes from the list of an account the generated token Secrets that are
// gone: those whose deletion was seen by nobody, because nobody led. Other names
// are the user's, who may list a Secret before it is made.
func (c *Controller) tidy(ctx context.Context, account *corev1.ServiceAccount) error {
	var failed []error
	for _, ref := range account.Secrets {
		if !generatedFor(account, ref.Name) {
			continue
		}
		if _, ok := controller.Cached[*corev1.Secret](c.Secrets, account.Namespace, ref.Name); !ok {
			failed = append(failed, c.unreference(ctx, account.Namespace, account.Name, ref.Name))
		}
	}
	return errors.Join(failed...)
}

// ensure makes sure that an account lists one of its token Secrets. If a cache
// that lags says that it does not, the store has the last word.
func (c *Controller) ensure(ctx context.Context, cached *corev1.ServiceAccount) error {
	if cached.DeletionTimestamp != nil || c.listsToken(cached) {
		return nil
	}
	account, err := c.AccountStore.Get(ctx, cached.Namespace, cached.Name)
	if err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if account.UID != cached.UID || account.DeletionTimestamp != nil {
		return nil
	}
	secrets, err := c.SecretStore.List(ctx, account.Namespace)
	if err != nil {
		return err
	}
	var spare *corev1.Secret
	for _, secret := range secrets {
		if !isTokenOf(secret, account) || secret.DeletionTimestamp != nil {
			continue
		}
		if refers(account, secret.Name) {
			return nil
		}
		if generatedFor(account, secret.Name) {
			// It was made, but the process died before it was referenced.
			spare = secret
		}
	}
	if spare != nil {
		return c.reference(ctx, account, spare)
	}
	return c.make(ctx, account)
}

// make makes a token Secret for an account, and then lists it there.
func (c *Controller) make(ctx context.Context, account *corev1.ServiceAccount) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   account.Namespace,
			Name:        base(account) + utilrand.String(suffixLength),
			Annotations: map[string]string{corev1.ServiceAccountNameKey: account.Name},
		},
		Type: corev1.SecretTypeServiceAccountToken,
	}
	if err := c.complete(ctx, secret, account, c.CA()); err != nil {
		return err
	}
	secret, err := c.SecretStore.Create(ctx, secret)
	if controller.NamespaceGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating token secret: %w", err)
	}
	return c.reference(ctx, account, secret)
}

// reference lists a token Secret in its account. If that fails, the Secret is
// deleted, so that the next attempt does not leave two.
func (c *Controller) reference(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) error {
	account.Secrets = append(account.Secrets, corev1.ObjectReference{Name: secret.Name})
	_, err := c.AccountStore.Update(ctx, account)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	// The update may have succeeded without our hearing of it, and another
	// process may have found the Secret and referenced it.
	live, getErr := c.AccountStore.Get(ctx, account.Namespace, account.Name)
	if getErr == nil && refers(live, secret.Name) {
		return nil
	}
	deleteErr := c.SecretStore.Delete(ctx, secret.Namespace, secret.Name, controller.ThisOne(secret))
	if err := controller.Ignore(deleteErr, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
		c.Log.WarnContext(ctx, "token secret left without reference", "namespace", secret.Namespace, "secret", secret.Name, "err", err)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("referencing token secret %s/%s: %w", secret.Namespace, secret.Name, err)
}

// listsToken reports whether, as the caches have it, an account lists one of its
// token Secrets.
func (c *Controller) listsToken(account *corev1.ServiceAccount) bool {
	return slices.ContainsFunc(account.Secrets, func(ref corev1.ObjectReference) bool {
		secret, ok := controller.Cached[*corev1.Secret](c.Secrets, account.Namespace, ref.Name)
		return ok && isTokenOf(secret, account)
	})
}

// isTokenOf reports whether a Secret is a token of just this account.
func isTokenOf(secret *corev1.Secret, account *corev1.ServiceAccount) bool {
	return accountOf(secret) == account.Name &&
		secret.Annotations[corev1.ServiceAccountUIDKey] == string(account.UID)
}

// refers reports whether an account lists the Secret.
func refers(account *corev1.ServiceAccount, secret string) bool {
	return slices.ContainsFunc(account.Secrets, func(ref corev1.ObjectReference) bool { return ref.Name == secret })
}

// base is how the names of the generated Secrets of an account begin.
func base(account *corev1.ServiceAccount) string {
	base := account.Name + "-token-"
	return base[:min(len(base), maxBase)]
}

// generatedFor reports whether a Secret has a name as make gives it.
func generatedFor(account *corev1.ServiceAccount, secret string) bool {
	suffix, ok := strings.CutPrefix(secret, base(account))
	return ok && len(suffix) == suffixLength && strings.Trim(suffix, suffixLetters) == ""
}
