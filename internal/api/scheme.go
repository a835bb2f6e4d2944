package api

import (
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// groups are the API groups served here, in the order of discovery.
func groups() []schema.GroupVersion {
	return []schema.GroupVersion{
		corev1.SchemeGroupVersion,
		authenticationv1.SchemeGroupVersion,
		authorizationv1.SchemeGroupVersion,
		certificatesv1.SchemeGroupVersion,
		coordinationv1.SchemeGroupVersion,
		rbacv1.SchemeGroupVersion,
	}
}

// externalScheme knows the v1 types and nothing else. OpenAPI names come from
// it, because the other one would give every type a second, internal name.
func externalScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme,
		certificatesv1.AddToScheme, coordinationv1.AddToScheme, rbacv1.AddToScheme,
	} {
		utilruntime.Must(add(s))
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}

// newScheme returns the scheme that the API works with. Each v1 type stands in
// for its own internal version: the library wants one to convert to, and where
// both are the same Go type it finds that there is nothing to convert.
func newScheme() *runtime.Scheme {
	s := externalScheme()
	// Options, watch events and the like are in every group, and stay as they are.
	shared := externalMeta()
	for gvk := range s.AllKnownTypes() {
		if gvk.Version != "v1" || shared.Recognizes(metav1.SchemeGroupVersion.WithKind(gvk.Kind)) {
			continue
		}
		obj, err := s.New(gvk)
		utilruntime.Must(err)
		s.AddKnownTypeWithName(schema.GroupVersionKind{Group: gvk.Group, Version: runtime.APIVersionInternal, Kind: gvk.Kind}, obj)
	}
	for _, gv := range groups() {
		utilruntime.Must(s.SetVersionPriority(gv))
	}
	return s
}

// externalMeta knows the kinds that every group has.
func externalMeta() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, metav1.SchemeGroupVersion)
	return s
}

// storageCodec returns the codec of what is stored: protobuf, as Kubernetes
// stores it, so that its tools can read a store of ours.
func storageCodec(codecs serializer.CodecFactory, gv schema.GroupVersion) (runtime.Codec, error) {
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		return nil, fmt.Errorf("no serializer of %s", runtime.ContentTypeProtobuf)
	}
	internal := schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal}
	return untypedCodec{codecs.CodecForVersions(info.Serializer, codecs.UniversalDeserializer(), gv, internal)}, nil
}

// untypedCodec clears the kind and version of what it decodes. The library
// does so when it converts to an internal type, which never happens here, and
// without it the items of a list would say what the list says already.
type untypedCodec struct{ runtime.Codec }

func (c untypedCodec) Decode(data []byte, gvk *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, found, err := c.Codec.Decode(data, gvk, into)
	if obj != nil {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, found, err
}
