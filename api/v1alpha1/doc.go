// Package v1alpha1 has the kinds of the API group gatehouse.dev that are read like
// those of Kubernetes, for whoever writes a client.
//
// The package decides nothing, and imports only what the types of Kubernetes
// themselves do.
//
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=dev.gatehouse.v1alpha1
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Names of the group.
const (
	Group   = "gatehouse.dev"
	Version = "v1alpha1"
)

// GroupVersion returns the group with its version.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// AddToScheme adds the kinds to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &Revocation{}, &RevocationList{}, &Credential{}, &CredentialList{}, &Explanation{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
