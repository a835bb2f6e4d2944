package api

import (
	"errors"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/klog/v2"
	builder2 "k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
)

// specify serves the OpenAPI specifications. The library builds them at the
// start, which is a third of its time, and keeps them for ever; here each is
// built when it is first asked for, and most servers are never asked for the
// old one.
func (a *API) specify(cfg *server.Config) {
	container, paths := a.server.Handler.GoRestfulContainer, a.server.Handler.NonGoRestfulMux
	v2 := &lazy{api: a, build: func(m *mux.PathRecorderMux) error {
		spec, err := builder2.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices(container.RegisteredWebServices()), cfg.OpenAPIConfig)
		if err != nil {
			return err
		}
		spec.Definitions = handler.PruneDefaults(spec.Definitions)
		handler.NewOpenAPIService(spec).RegisterOpenAPIVersionedService("/openapi/v2", m)
		return nil
	}}
	v3 := &lazy{api: a, build: func(m *mux.PathRecorderMux) error {
		routes.OpenAPI{V3Config: cfg.OpenAPIV3Config}.InstallV3(container, m)
		return nil
	}}
	paths.Handle("/openapi/v2", v2)
	paths.Handle("/openapi/v3", v3)
	paths.HandlePrefix("/openapi/v3/", v3)
}

// lazy is a handler that is built when the first request comes.
type lazy struct {
	api   *API
	build func(*mux.PathRecorderMux) error
	once  sync.Once
	built *mux.PathRecorderMux
	err   error
}

func (l *lazy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.once.Do(func() {
		l.built = mux.NewPathRecorderMux("openapi")
		l.err = l.build(l.built)
	})
	if l.err != nil {
		klog.ErrorS(l.err, "building the OpenAPI specification", "path", r.URL.Path)
		err := apierrors.NewInternalError(errors.New("the specification cannot be built"))
		responsewriters.ErrorNegotiated(err, l.api.codecs, schema.GroupVersion{Version: "v1"}, w, r)
		return
	}
	l.built.ServeHTTP(w, r)
}
