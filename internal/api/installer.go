package api

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/value"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// An installer collects what the entries of the table make, before the server
// is built from it.
type installer struct {
	scheme       *runtime.Scheme
	codecs       serializer.CodecFactory
	engine       *engine
	transformers map[schema.GroupResource]value.Transformer
	tracker      flowcontrolrequest.StorageObjectCountTracker
	// changed is told of every object that an acknowledged write of this
	// process has changed or removed.
	changed func(resource string, obj metav1.Object)
	// created and deleted are told of every object that one has created or
	// removed.
	created, deleted func(resource string, obj metav1.Object)
	tokens           TokenRequester

	stores map[schema.GroupResource]*registry.Store
	groups map[schema.GroupVersion]map[string]rest.Storage
	// named are our own stored resources, for discovery.
	named []metav1.APIResource
}

// group returns the storage of one group and version, by resource.
func (in *installer) group(gv schema.GroupVersion) map[string]rest.Storage {
	g, ok := in.groups[gv]
	if !ok {
		g = map[string]rest.Storage{}
		in.groups[gv] = g
	}
	return g
}

// addFieldLabels says which field selectors a kind takes. Any other one is
// answered with a bad request, as upstream does, and not with nothing.
func (in *installer) addFieldLabels(gvk schema.GroupVersionKind, names []string) error {
	err := in.scheme.AddFieldLabelConversionFunc(gvk, func(label, value string) (string, string, error) {
		if !slices.Contains(names, label) {
			return "", "", fmt.Errorf("field label not supported: %s", label)
		}
		return label, value, nil
	})
	if err != nil {
		return fmt.Errorf("naming the selectable fields of %s : %w", gvk.Kind, err)
	}
	return nil
}

// resourcePrefix is where the objects of a resource are kept. Upstream keeps those
// of its own groups by the name of the resource alone, and those of others below
// their group.
func resourcePrefix(gr schema.GroupResource) string {
	if gr.Group == v1alpha1.Group {
		return gr.Group + "/" + gr.Resource
	}
	return gr.Resource
}

// GetRESTOptions says how the objects of a resource are stored.
func (in *installer) GetRESTOptions(gr schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	gv, ok := versionOf(gr.Group)
	if !ok {
		return generic.RESTOptions{}, fmt.Errorf("no version of the group of %s is served", gr)
	}
	codec, err := storageCodec(in.codecs, gv)
	if err != nil {
		return generic.RESTOptions{}, err
	}
	cfg := storagebackend.NewDefaultConfig(in.engine.prefix, codec)
	cfg.EncodeVersioner = gv
	cfg.Transformer = in.transformers[gr]
	cfg.StorageObjectCountTracker = in.tracker
	return generic.RESTOptions{
		StorageConfig:             cfg.ForResource(gr),
		Decorator:                 in.engine.storage,
		EnableGarbageCollection:   false,
		DeleteCollectionWorkers:   1,
		ResourcePrefix:            resourcePrefix(gr),
		CountMetricPollPeriod:     0,
		StorageObjectCountTracker: in.tracker,
	}, nil
}
