package issuing

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/secret"
)

// LegacyIssuer is the iss of every token that is kept in a Secret.
const LegacyIssuer = "kubernetes/serviceaccount"

// LegacyToken returns the token to be kept in holder, a Secret of the type
// kubernetes.io/service-account-token that is annotated with account. The token
// never ends; it is worth something as long as holder has it.
func LegacyToken(ctx context.Context, signer Signer, account *corev1.ServiceAccount, holder *corev1.Secret) (secret.Bytes, error) {
	name := holder.Annotations[corev1.ServiceAccountNameKey]
	uid := holder.Annotations[corev1.ServiceAccountUIDKey]
	var wrong string
	switch {
	case holder.Type != corev1.SecretTypeServiceAccountToken:
		wrong = fmt.Sprintf("its type is %q, not %q", holder.Type, corev1.SecretTypeServiceAccountToken)
	case holder.Name == "" || holder.Namespace != account.Namespace:
		wrong = "it is not in the namespace of the service account"
	case name != account.Name:
		wrong = fmt.Sprintf("its annotation %s is %q", corev1.ServiceAccountNameKey, name)
	case uid != "" && uid != string(account.UID):
		wrong = fmt.Sprintf("its annotation %s is of a service account that is gone", corev1.ServiceAccountUIDKey)
	case account.UID == "":
		wrong = "the service account has no UID: it is not stored"
	}
	if wrong != "" {
		return secret.Bytes{}, fmt.Errorf("secret %s/%s cannot hold a token of service account %s/%s: %s",
			holder.Namespace, holder.Name, account.Namespace, account.Name, wrong)
	}
	token, err := signer.Sign(ctx, legacyClaims{
		Issuer:     LegacyIssuer,
		Namespace:  account.Namespace,
		SecretName: holder.Name,
		Account:    account.Name,
		AccountUID: account.UID,
		Subject:    subject(account),
	}, time.Time{})
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("signing token for secret %s/%s: %w", holder.Namespace, holder.Name, err)
	}
	return secret.New([]byte(token)), nil
}
