package api

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// An engine makes the storage of each resource on one etcd client, whether that
// client reaches a cluster or an etcd in this process.
type engine struct {
	client    *etcdk8s.Client
	compactor interface {
		etcd3.Compactor
		Stop()
	}
	prefix string
	// written are told of each write of a resource.
	written map[schema.GroupResource]func(context.Context, bool) error
	// arrived are what the watch caches read through.
	arrived map[schema.GroupResource]*arrivals
}

// newEngine starts compacting the store: what is older than interval is
// forgotten, as upstream does it, and several processes agree on who does.
func newEngine(client *clientv3.Client, prefix string, interval time.Duration,
	written map[schema.GroupResource]func(context.Context, bool) error,
) *engine {
	kc := &etcdk8s.Client{Client: client}
	kc.Kubernetes = kc
	// The library asks each endpoint for its version to learn whether watches
	// can tell how far they have come. The etcd in this process has no
	// endpoint to ask, and every version that Gatehouse supports can.
	if _, done := feature.DefaultFeatureSupportChecker.(watchProgress); !done {
		feature.DefaultFeatureSupportChecker = watchProgress{feature.DefaultFeatureSupportChecker}
	}
	return &engine{
		client:    kc,
		compactor: etcd3.NewCompactor(client, interval, clock.RealClock{}, func() {}),
		prefix:    prefix,
		written:   written,
		arrived:   map[schema.GroupResource]*arrivals{},
	}
}

func (e *engine) close() { e.compactor.Stop() }

// storage is a generic.StorageDecorator.
func (e *engine) storage(cfg *storagebackend.ConfigForResource, prefix string,
	keyFunc func(runtime.Object) (string, error), newFunc, newListFunc func() runtime.Object,
	attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	versioner := storage.APIObjectVersioner{}
	transformer := cfg.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	store, err := etcd3.New(e.client, e.compactor, cfg.Codec, newFunc, newListFunc, cfg.Prefix, prefix,
		cfg.GroupResource, transformer, cfg.LeaseManagerConfig, etcd3.NewDefaultDecoder(cfg.Codec, versioner), versioner)
	if err != nil {
		return nil, nil, err
	}
	e.arrived[cfg.GroupResource] = &arrivals{Interface: store}
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage:             e.arrived[cfg.GroupResource],
		Versioner:           versioner,
		GroupResource:       cfg.GroupResource,
		EventsHistoryWindow: cfg.EventsHistoryWindow,
		ResourcePrefix:      prefix,
		KeyFunc:             keyFunc,
		NewFunc:             newFunc,
		NewListFunc:         newListFunc,
		GetAttrsFunc:        attrs,
		IndexerFuncs:        triggers,
		Indexers:            indexers,
		Codec:               cfg.Codec,
	})
	if err != nil {
		return nil, nil, err
	}
	delegator := cacher.NewCacheDelegator(cached, store)
	destroy := sync.OnceFunc(func() {
		delegator.Stop()
		cached.Stop()
		store.Close()
	})
	var whole storage.Interface = polite{outspoken{delegator}}
	if tell := e.written[cfg.GroupResource]; tell != nil {
		whole = telling{whole, tell}
	}
	return whole, destroy, nil
}

// watchProgress says that the store reports the progress of watches.
type watchProgress struct{ feature.FeatureSupportChecker }

func (w watchProgress) Supports(f storage.Feature) bool {
	return f == storage.RequestWatchProgress || w.FeatureSupportChecker.Supports(f)
}
