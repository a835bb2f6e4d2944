package api

import (
	"fmt"
	"slices"

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

	"gatehouse.dev/gatehouse/api/v1alpha1"
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
		v1alpha1.GroupVersion(),
	}
}

// versionOf returns the version of a group that is served and stored, and whether
// there is one.
func versionOf(group string) (schema.GroupVersion, bool) {
	for _, gv := range groups() {
		if gv.Group == group {
			return gv, true
		}
	}
	return schema.GroupVersion{}, false
}

// externalScheme knows the types that are served and nothing else. OpenAPI names come from
// it, because the other one would give every type a second, internal name.
func externalScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme,
		certificatesv1.AddToScheme, coordinationv1.AddToScheme, rbacv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		utilruntime.Must(add(s))
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}

// newScheme returns the scheme that the API works with. Each of those types stands in
// for its own internal version: the library wants one to convert to, and where
// both are the same Go type it finds that there is nothing to convert.
func newScheme() *runtime.Scheme {
	s := externalScheme()
	// Options, watch events and the like are in every group, and stay as they are.
	shared := externalMeta()
	for gvk := range s.AllKnownTypes() {
		if gv, ok := versionOf(gvk.Group); !ok || gvk.Version != gv.Version || shared.Recognizes(metav1.SchemeGroupVersion.WithKind(gvk.Kind)) {
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
// stores it, so that its tools can read a store of ours; of our own kinds, JSON.
func storageCodec(codecs serializer.CodecFactory, gv schema.GroupVersion) (runtime.Codec, error) {
	form := runtime.ContentTypeProtobuf
	if gv.Group == v1alpha1.Group {
		form = runtime.ContentTypeJSON
	}
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), form)
	if !ok {
		return nil, fmt.Errorf("no serializer of %s", form)
	}
	internal := schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal}
	return untypedCodec{codecs.CodecForVersions(info.Serializer, codecs.UniversalDeserializer(), gv, internal)}, nil
}

// wireCodecs returns the codecs of a group: our own kinds have no protobuf.
func wireCodecs(codecs serializer.CodecFactory, gv schema.GroupVersion) runtime.NegotiatedSerializer {
	if gv.Group == v1alpha1.Group {
		return textual{codecs}
	}
	return codecs
}

// textual are codecs without protobuf. Who prefers it gets the next form that he
// takes, as with resources that are defined by a CustomResourceDefinition.
type textual struct{ serializer.CodecFactory }

// SupportedMediaTypes returns all forms but protobuf.
func (t textual) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(t.CodecFactory.SupportedMediaTypes()), func(info runtime.SerializerInfo) bool {
		return info.MediaType == runtime.ContentTypeProtobuf
	})
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
