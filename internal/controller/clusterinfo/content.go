package clusterinfo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gatehouse.dev/gatehouse/identity"
)

// digestKey is the annotation with the digest of the kubeconfig that this
// controller wrote last. As long as it fits, nobody else has written one.
const digestKey = "gatehouse.dev/kubeconfig-sha256"

// kubeconfig returns what kubeadm would write: one cluster, without a name, and
// nobody who logs in. It is empty if there is no CA to trust.
func kubeconfig(server string, ca []byte) (string, error) {
	if len(ca) == 0 {
		return "", nil
	}
	text, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{
		"": {Server: server, CertificateAuthorityData: ca},
	}})
	if err != nil {
		return "", fmt.Errorf("making the kubeconfig of %s: %w", name, err)
	}
	return string(text), nil
}

// put writes our kubeconfig into a ConfigMap.
func put(cm *corev1.ConfigMap, kubeconfig string) {
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[kubeconfigKey] = kubeconfig
	metav1.SetMetaDataAnnotation(&cm.ObjectMeta, digestKey, digest(kubeconfig))
}

// unchanged reports whether the kubeconfig of a ConfigMap is as this controller
// wrote it.
func unchanged(cm *corev1.ConfigMap) bool {
	return cm.Annotations[digestKey] == digest(cm.Data[kubeconfigKey])
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// access is the name of the role and of the binding by which anybody may read
// the ConfigMap. It is kubeadm's.
const access = "kubeadm:bootstrap-signer-clusterinfo"

// Access returns the role and the binding by which who has no credential may
// read the ConfigMap.
func Access() (*rbacv1.Role, *rbacv1.RoleBinding) {
	meta := metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: access}
	return &rbacv1.Role{
			ObjectMeta: meta,
			Rules: []rbacv1.PolicyRule{{
				Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{name},
			}},
		}, &rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: access},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: identity.Anonymous}},
		}
}
