// Package api is the Kubernetes API that Gatehouse serves itself: the resources
// that identity needs, stored in etcd, with everything that a Kubernetes client
// expects of a resource.
//
// It is built on the published library k8s.io/apiserver, used as a resource
// backend only: [API.Handler] has no filter of the library in front, so it
// authenticates and authorizes nobody. That is the front door's. The v1 types
// of k8s.io/api stand in for the library's internal versions, so that no object
// is ever converted, and a new resource is one entry in the table of kinds.
//
// The package refuses requests for the reviews, which the front door answers.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	endpointmetrics "k8s.io/apiserver/pkg/endpoints/metrics"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	cachermetrics "k8s.io/apiserver/pkg/storage/cacher/metrics"
	etcdmetrics "k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/value"
	restclient "k8s.io/client-go/rest"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/internal/api/defaults"
	"gatehouse.dev/gatehouse/internal/api/openapi"
)

// Config is what the API is built from. All fields must be set, except where
// they say otherwise.
type Config struct {
	// Client reaches the store, under Prefix, which is "/registry" with
	// Kubernetes. What is older than CompactionInterval is forgotten; 0 keeps
	// everything.
	Client             *clientv3.Client
	Prefix             string
	CompactionInterval time.Duration
	// Transformers encrypt resources at rest. Those not named are stored plain.
	Transformers map[schema.GroupResource]value.Transformer
	// Address is where clients reach the server, as host:port.
	Address string
	// Release is the version of Gatehouse, as in /version.
	Release string
	// RequestTimeout bounds what is not a watch.
	RequestTimeout time.Duration
	// Admission judges the objects of authorized writes.
	Admission admission.Interface
	// Authorizer decides whether a caller who may update or patch an object
	// that is not there may create it as well.
	Authorizer authz.Authorizer
	Tokens     TokenRequester
	// Beside are resources that are served in front of this API. It only names
	// them in discovery.
	Beside []metav1.APIResourceList
	// Changed, which may be nil, is told of each object that a write of this
	// process has updated or removed, before the write is answered. It is not
	// told that an object was only marked for deletion, nor of rehearsals.
	Changed func(resource string, obj metav1.Object)
	// Created and Deleted, which may be nil, are told of each object that a write
	// of this process has created or removed, before the write is answered.
	Created, Deleted func(resource string, obj metav1.Object)
	// Written are told of each write of a resource, and whether it was a
	// creation, when it is in the store. What they return fails the request,
	// though not the write.
	Written map[schema.GroupResource]func(ctx context.Context, created bool) error
}

// An API is the server behind the front door.
type API struct {
	server  *server.GenericAPIServer
	handler http.Handler
	codecs  serializer.CodecFactory
	scheme  *runtime.Scheme
	stores  map[schema.GroupResource]*registry.Store
	engine  *engine
	stop    context.CancelFunc
	// followed are the resources that have an informer.
	followed []*following
}

// New builds the API. The caches behind it fill as soon as the store answers.
func New(cfg Config) (*API, error) {
	count()
	scheme := newScheme()
	defaults.Register(scheme)
	codecs := serializer.NewCodecFactory(scheme)
	in := &installer{
		scheme: scheme, codecs: codecs,
		engine:       newEngine(cfg.Client, cfg.Prefix, cfg.CompactionInterval, cfg.Written),
		transformers: cfg.Transformers,
		changed:      cfg.Changed,
		created:      cfg.Created,
		deleted:      cfg.Deleted,
		tokens:       cfg.Tokens,
		stores:       map[schema.GroupResource]*registry.Store{},
		groups:       map[schema.GroupVersion]map[string]rest.Storage{},
	}
	for _, told := range []*func(string, metav1.Object){&in.changed, &in.created, &in.deleted} {
		if *told == nil {
			*told = func(string, metav1.Object) {}
		}
	}
	a := &API{codecs: codecs, scheme: scheme, stores: in.stores, engine: in.engine}
	if err := a.build(cfg, in); err != nil {
		for _, store := range in.stores {
			store.Destroy()
		}
		a.engine.close()
		return nil, err
	}
	return a, nil
}

// count has the library count its requests and those to the store, as its own
// metrics endpoint does where it is switched on. It may be called repeatedly.
func count() {
	endpointmetrics.Register()
	cachermetrics.Register()
	etcdmetrics.Register()
}

func (a *API) build(cfg Config, in *installer) error {
	generic := genericConfig(cfg, in)
	for _, e := range append(append(kinds(), reviews()...), explanations(), shown{rest.NewDefaultTableConvertor(shownResource())}) {
		if err := e.install(in); err != nil {
			return err
		}
	}
	s, err := generic.Complete(nil).New("gatehouse", server.NewEmptyDelegate())
	if err != nil {
		return fmt.Errorf("building the API server: %w", err)
	}
	var named []*server.APIGroupInfo
	for _, gv := range groups() {
		info := server.NewDefaultAPIGroupInfo(gv.Group, a.scheme, runtime.NewParameterCodec(a.scheme), a.codecs)
		info.PrioritizedVersions = []schema.GroupVersion{gv}
		info.NegotiatedSerializer = wireCodecs(a.codecs, gv)
		info.VersionedResourcesStorageMap[gv.Version] = in.group(gv)
		if gv.Group != "" {
			named = append(named, &info)
			continue
		}
		if err := s.InstallLegacyAPIGroup(server.DefaultLegacyAPIPrefix, &info); err != nil {
			return fmt.Errorf("installing the core API group: %w", err)
		}
	}
	// Together, because the library derives the types of fields once for each
	// call.
	if err := s.InstallAPIGroups(named...); err != nil {
		return fmt.Errorf("installing API groups: %w", err)
	}
	a.server = s
	a.specify(generic)
	if a.handler, err = answerVersion(generic.EffectiveVersion.Info(), s.Handler.Director); err != nil {
		return err
	}
	a.handler = answerCustomResources(a.handler)
	return a.nameBeside(s, cfg.Beside, in.named)
}

// genericConfig configures the library as a backend: without a listener, a
// loopback credential, health checks, metrics or profiling of its own.
func genericConfig(cfg Config, in *installer) *server.Config {
	c := server.NewConfig(in.codecs)
	in.tracker = c.StorageObjectCountTracker
	c.ExternalAddress = cfg.Address
	c.LoopbackClientConfig = &restclient.Config{}
	c.EffectiveVersion = newServerVersion(cfg.Release)
	c.RequestTimeout = cfg.RequestTimeout
	c.RESTOptionsGetter = in
	c.AdmissionControl = cfg.Admission
	c.Authorization.Authorizer = authorizer.AuthorizerFunc(creating{cfg.Authorizer}.authorize)
	c.EnableMetrics, c.EnableProfiling = false, false
	c.BuildHandlerChainFunc = func(h http.Handler, _ *server.Config) http.Handler { return h }
	c.HealthzChecks, c.LivezChecks, c.ReadyzChecks = nil, nil, nil
	c.SkipOpenAPIInstallation = true // see specify

	namer := openapinamer.NewDefinitionNamer(externalScheme())
	c.OpenAPIConfig = server.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, namer)
	c.OpenAPIConfig.Info.Title = "Kubernetes"
	c.OpenAPIV3Config = server.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, namer)
	c.OpenAPIV3Config.Info.Title = "Kubernetes"
	return c
}

// Start makes the API ready to be served, and returns when that is done. It
// stops with [API.Close].
func (a *API) Start(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	_, _, err := a.server.PrepareRun().NonBlockingRunWithContext(ctx, 0)
	if err != nil {
		return fmt.Errorf("starting the API server: %w", err)
	}
	return nil
}

// Close ends the watches and the connections to the store.
func (a *API) Close() {
	if a.stop != nil {
		a.stop()
	}
	a.server.Destroy()
	a.engine.close()
}

// Handler serves the API to whoever reaches it. It expects in the request's
// context what the library's filters put there: the request info, the user, an
// audit context and a recorder of warnings.
func (a *API) Handler() http.Handler { return a.handler }

// Paths lists what the API serves, sorted. What the library counts as healthy
// by itself is not among it: health is not the API's.
func (a *API) Paths() []string {
	return slices.DeleteFunc(a.server.ListedPaths(), func(path string) bool {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return first == "healthz" || first == "livez" || first == "readyz"
	})
}

// Codecs encode and decode the kinds of the API.
func (a *API) Codecs() serializer.CodecFactory { return a.codecs }

// Ready returns an error while a cache has not caught up with the store.
func (a *API) Ready() error {
	var errs []error
	for gr, store := range a.stores {
		if store.CreateStrategy == nil || store.ReadinessCheckFunc == nil {
			continue // a part of another one
		}
		if err := store.ReadinessCheckFunc(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", gr, err))
		}
	}
	return errors.Join(errs...)
}
