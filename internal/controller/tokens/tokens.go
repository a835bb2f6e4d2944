// Package tokens fills in the Secrets that hold long-lived tokens of service
// accounts, those of type kubernetes.io/service-account-token, and deletes them
// with their account. If asked to, it also makes one for every account, as
// Kubernetes did before version 1.24.
//
// The idea is that everything about one account is one key: its token Secrets
// are judged together, and no two workers ever make a token for the same
// account. What is deleted, is deleted after a live look and with preconditions,
// because a cache that lags must not cost anybody a credential; what is written,
// is written with a resource version.
//
// It refuses to touch Secrets of other types and references that are not to a
// token, and never logs a token. It knows nothing of signing: see
// [Controller.Token].
//
// Upstream: pkg/controller/serviceaccount/tokens_controller.go.
package tokens

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// poll is how often CA is asked. It costs a comparison of a few kilobytes.
const poll = time.Second

// byAccount is the index of token Secrets by the account that they name, under
// its namespace, a slash and its name.
const byAccount = "gatehouse.dev/token-secrets-by-account"

// A Controller keeps token Secrets right. All fields but AutoSecrets are
// required.
type Controller struct {
	Accounts cache.SharedIndexInformer // of *corev1.ServiceAccount
	Secrets  cache.SharedIndexInformer // of *corev1.Secret; gets an index

	AccountStore controller.Objects[*corev1.ServiceAccount]
	SecretStore  controller.Objects[*corev1.Secret]

	// Token returns a new token of the account for the Secret, of which name and
	// namespace are set. It must change neither, and its error is logged.
	Token func(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) (string, error)
	// CA returns the certificates for ca.crt in PEM, or nothing if there is none
	// to be given out. It is asked every second, and what it returns must not be
	// changed afterwards.
	CA func() []byte
	// AutoSecrets makes a token Secret for every account and lists it in the
	// secrets of the account. It is off upstream since Kubernetes 1.24, and for
	// good reason: such tokens never expire.
	AutoSecrets bool

	Log *slog.Logger

	// indexed is whether Secrets has its index. The informer must not be asked:
	// it is shared with others who add theirs.
	indexed bool
}

// A key is an account that needs a look, by name: one that was deleted and made
// again is the same key.
type key struct {
	namespace, account string
	// gone is a token Secret of the account that was deleted, so that the account
	// should not list it; or empty.
	gone string
}

// Run works until ctx is done, and then returns nil. It may be called again
// when it has returned.
func (c *Controller) Run(ctx context.Context) error {
	if !c.indexed {
		if err := c.Secrets.AddIndexers(cache.Indexers{byAccount: indexByAccount}); err != nil {
			return err
		}
		c.indexed = true
	}
	last := c.CA()
	reloaded := func() []key {
		if ca := c.CA(); !bytes.Equal(ca, last) {
			last = ca
			return c.withSecrets()
		}
		return nil
	}
	loop := controller.Loop[key]{
		Sources: []controller.Source[key]{
			controller.Watch(c.Accounts, func(account *corev1.ServiceAccount) []key {
				return []key{{namespace: account.Namespace, account: account.Name}}
			}),
			controller.Watch(c.Secrets, c.secretChanged),
			controller.Poll(poll, reloaded),
		},
		Sync: c.sync,
		Log:  c.Log,
	}
	return loop.Run(ctx)
}

// secretChanged returns the keys of the account that a token Secret names.
func (c *Controller) secretChanged(secret *corev1.Secret) []key {
	name := accountOf(secret)
	if name == "" {
		return nil
	}
	k := key{namespace: secret.Namespace, account: name}
	if _, ok := controller.Cached[*corev1.Secret](c.Secrets, secret.Namespace, secret.Name); !ok {
		k.gone = secret.Name
	}
	return []key{k}
}

// withSecrets returns the keys of all accounts that have token Secrets.
func (c *Controller) withSecrets() []key {
	var keys []key
	for _, value := range c.Secrets.GetIndexer().ListIndexFuncValues(byAccount) {
		if namespace, name, err := cache.SplitMetaNamespaceKey(value); err == nil {
			keys = append(keys, key{namespace: namespace, account: name})
		}
	}
	return keys
}

// sync makes the token Secrets of an account as they should be.
func (c *Controller) sync(ctx context.Context, k key) error {
	if k.gone != "" {
		return c.unreference(ctx, k.namespace, k.account, k.gone)
	}
	var failed []error
	secrets, err := c.Secrets.GetIndexer().ByIndex(byAccount, k.namespace+"/"+k.account)
	if err != nil {
		return err
	}
	for _, obj := range secrets {
		if secret, ok := obj.(*corev1.Secret); ok {
			failed = append(failed, c.judge(ctx, secret))
		}
	}
	if account, ok := controller.Cached[*corev1.ServiceAccount](c.Accounts, k.namespace, k.account); ok {
		failed = append(failed, c.tidy(ctx, account))
		if c.AutoSecrets {
			failed = append(failed, c.ensure(ctx, account))
		}
	}
	return errors.Join(failed...)
}

// judge fills in a token Secret, or deletes it if its account is gone.
func (c *Controller) judge(ctx context.Context, secret *corev1.Secret) error {
	if secret.DeletionTimestamp != nil {
		return nil
	}
	account, err := c.owner(ctx, secret)
	if err != nil {
		return err
	}
	if account != nil {
		return c.fill(ctx, account, secret)
	}
	c.Log.InfoContext(ctx, "deleting token of a service account that is gone",
		"namespace", secret.Namespace, "secret", secret.Name, "service_account", accountOf(secret))
	err = c.SecretStore.Delete(ctx, secret.Namespace, secret.Name, controller.Exactly(secret))
	// If it changed since, that is an event, and it will be judged as it is then.
	return controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict)
}

// owner returns the account that a token Secret belongs to: the one that it
// names, and of the UID that it names, if it does. If the cache does not have
// that one, the store is asked. It is nil if there is no such account.
func (c *Controller) owner(ctx context.Context, secret *corev1.Secret) (*corev1.ServiceAccount, error) {
	name := accountOf(secret)
	account, ok := controller.Cached[*corev1.ServiceAccount](c.Accounts, secret.Namespace, name)
	if ok && mayOwn(account, secret) {
		return account, nil
	}
	account, err := c.AccountStore.Get(ctx, secret.Namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !mayOwn(account, secret):
		return nil, nil
	}
	return account, nil
}

// mayOwn reports whether the UID that a token Secret names, if any, is that of
// the account.
func mayOwn(account *corev1.ServiceAccount, secret *corev1.Secret) bool {
	uid := secret.Annotations[corev1.ServiceAccountUIDKey]
	return uid == "" || uid == string(account.UID)
}

// accountOf returns the name of the account that a token Secret is for, or
// nothing if it is not a token Secret.
func accountOf(secret *corev1.Secret) string {
	if secret.Type != corev1.SecretTypeServiceAccountToken {
		return ""
	}
	return secret.Annotations[corev1.ServiceAccountNameKey]
}

func indexByAccount(obj any) ([]string, error) {
	if secret, ok := obj.(*corev1.Secret); ok {
		if name := accountOf(secret); name != "" {
			return []string{secret.Namespace + "/" + name}, nil
		}
	}
	return nil, nil
}
