package issuing

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/identity"
)

// The fields of claims are in the order of their JSON names, as Kubernetes
// writes them, so that the same facts give the same bytes.

// boundClaims are the claims of a token that was requested. Times are in seconds
// since 1970 (RFC 7519 section 2, NumericDate).
type boundClaims struct {
	Audience   []string         `json:"aud,omitempty"`
	Expires    int64            `json:"exp"`
	IssuedAt   int64            `json:"iat"`
	Issuer     string           `json:"iss"`
	ID         string           `json:"jti"`
	Kubernetes kubernetesClaims `json:"kubernetes.io"`
	NotBefore  int64            `json:"nbf"`
	Subject    string           `json:"sub"`
}

type kubernetesClaims struct {
	Namespace string `json:"namespace"`
	binding
	ServiceAccount reference `json:"serviceaccount"`
	// WarnAfter is when the token ought to have been replaced, zero where that
	// is when it ends.
	WarnAfter int64 `json:"warnafter,omitempty"`
}

// A binding is the object without which a token is worth nothing. The zero
// value binds to the service account only.
type binding struct {
	// Node comes alone, or with Pod as the node that the pod is on.
	Node   *reference `json:"node,omitempty"`
	Pod    *reference `json:"pod,omitempty"`
	Secret *reference `json:"secret,omitempty"`
}

// bound returns the object of the binding: a node that comes with a pod is only
// where that is.
func (b *binding) bound(namespace string) *Bound {
	switch {
	case b.Pod != nil:
		return &Bound{"Pod", namespace, b.Pod.Name, string(b.Pod.UID)}
	case b.Secret != nil:
		return &Bound{"Secret", namespace, b.Secret.Name, string(b.Secret.UID)}
	case b.Node != nil:
		return &Bound{"Node", "", b.Node.Name, string(b.Node.UID)}
	default:
		return nil
	}
}

type reference struct {
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

// legacyClaims are the claims of a token in a Secret. It has no end, no
// audience and no ID.
type legacyClaims struct {
	Issuer     string    `json:"iss"`
	Namespace  string    `json:"kubernetes.io/serviceaccount/namespace"`
	SecretName string    `json:"kubernetes.io/serviceaccount/secret.name"`
	Account    string    `json:"kubernetes.io/serviceaccount/service-account.name"`
	AccountUID types.UID `json:"kubernetes.io/serviceaccount/service-account.uid"`
	Subject    string    `json:"sub"`
}

func subject(account *corev1.ServiceAccount) string {
	return identity.ServiceAccountPrefix + account.Namespace + ":" + account.Name
}
