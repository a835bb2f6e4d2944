package tokens

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fill makes the data and annotations of a token Secret complete. A token that
// is there is kept: whoever has copied it goes on using it.
func (c *Controller) fill(ctx context.Context, account *corev1.ServiceAccount, cached *corev1.Secret) error {
	ca := c.CA()
	if complete(cached, account, ca) {
		return nil
	}
	secret, err := c.SecretStore.Get(ctx, cached.Namespace, cached.Name)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case secret.UID != cached.UID, accountOf(secret) != account.Name, !mayOwn(account, secret),
		secret.DeletionTimestamp != nil, complete(secret, account, ca):
		// It changed since, and not into what was judged; that is an event.
		return nil
	}
	if err := c.complete(ctx, secret, account, ca); err != nil {
		return err
	}
	_, err = c.SecretStore.Update(ctx, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("filling in token secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// complete reports whether a token Secret lacks nothing.
func complete(secret *corev1.Secret, account *corev1.ServiceAccount, ca []byte) bool {
	return len(secret.Data[corev1.ServiceAccountTokenKey]) > 0 &&
		string(secret.Data[corev1.ServiceAccountNamespaceKey]) == secret.Namespace &&
		(len(ca) == 0 || bytes.Equal(secret.Data[corev1.ServiceAccountRootCAKey], ca)) &&
		secret.Annotations[corev1.ServiceAccountUIDKey] == string(account.UID)
}

// complete adds to a token Secret what it lacks.
func (c *Controller) complete(ctx context.Context, secret *corev1.Secret, account *corev1.ServiceAccount, ca []byte) error {
	if secret.Data == nil {
		secret.Data = make(map[string][]byte)
	}
	if len(secret.Data[corev1.ServiceAccountTokenKey]) == 0 {
		token, err := c.Token(ctx, account, secret)
		if err != nil {
			return fmt.Errorf("making token for secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
		if token == "" {
			return fmt.Errorf("making token for secret %s/%s: it is empty", secret.Namespace, secret.Name)
		}
		secret.Data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	secret.Data[corev1.ServiceAccountNamespaceKey] = []byte(secret.Namespace)
	if len(ca) > 0 {
		secret.Data[corev1.ServiceAccountRootCAKey] = ca
	}
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, corev1.ServiceAccountUIDKey, string(account.UID))
	return nil
}
