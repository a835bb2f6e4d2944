package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	lumberjack "gopkg.in/natefinch/lumberjack.v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/union"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	auditlog "k8s.io/apiserver/plugin/pkg/audit/log"
	restclient "k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"

	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/internal/api/openapi"
)

// Config is what a server is made of.
type Config struct {
	Credentials Credentials
	// Objects are the roles and bindings in force.
	Objects rbac.Objects
	// Resources answers what is under /api/v1, behind the chain.
	Resources http.Handler
	// AuditPolicy is the file with the policy, and AuditLog that of the events.
	AuditPolicy, AuditLog string
}

// A Server is the generic API server with its default handler chain. It limits
// requests in flight; kube-apiserver's default, priority and fairness, costs
// more. Tracing is built in and off, as in kube-apiserver.
type Server struct {
	// Handler is the whole chain.
	Handler http.Handler

	generic *server.GenericAPIServer
	stop    context.CancelFunc
	log     *lumberjack.Logger
}

// New builds a server. It has no listener.
func New(c Config) (*Server, error) {
	s := &Server{}
	scheme := newScheme()
	codecs := serializer.NewCodecFactory(scheme)
	generic := server.NewConfig(codecs)
	generic.ExternalAddress = "127.0.0.1:6443"
	generic.LoopbackClientConfig = &restclient.Config{}
	generic.EffectiveVersion = compatibility.NewEffectiveVersionFromString("1.37", "", "")
	namer := openapinamer.NewDefinitionNamer(scheme)
	generic.OpenAPIConfig = server.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, namer)
	generic.OpenAPIV3Config = server.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, namer)

	authenticators, err := c.Credentials.Build()
	if err != nil {
		return nil, err
	}
	access, err := union.New(
		union.NamedAuthorizer{AuthorizerName: "masters", Authorizer: authorizerfactory.NewPrivilegedGroups("system:masters")},
		union.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: NewRBAC(c.Objects)},
	)
	if err != nil {
		return nil, fmt.Errorf("joining authorizers: %w", err)
	}
	generic.Authentication.Authenticator = authenticators.Request
	generic.Authentication.APIAudiences = c.Credentials.Audiences
	generic.Authorization.Authorizer = access
	if err := s.audit(generic, c); err != nil {
		return nil, err
	}
	generic.BuildHandlerChainFunc = func(own http.Handler, g *server.Config) http.Handler {
		return server.DefaultBuildHandlerChain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/api/v1/") {
				c.Resources.ServeHTTP(w, r)
				return
			}
			own.ServeHTTP(w, r)
		}), g)
	}
	if s.generic, err = generic.Complete(nil).New("upstream", server.NewEmptyDelegate()); err != nil {
		return nil, fmt.Errorf("building the generic server: %w", err)
	}
	if err := s.install(scheme, codecs, authenticators, access, c); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if _, _, err := s.generic.PrepareRun().NonBlockingRunWithContext(ctx, 0); err != nil {
		return nil, fmt.Errorf("starting the generic server: %w", err)
	}
	s.Handler = s.generic.Handler
	return s, nil
}

// Close stops the server.
func (s *Server) Close() error {
	s.stop()
	s.generic.Destroy()
	return s.log.Close()
}

// audit sets up the log backend with kube-apiserver's defaults: JSON, blocking,
// a rotated file.
func (s *Server) audit(generic *server.Config, c Config) error {
	rules, err := policy.LoadPolicyFromFile(c.AuditPolicy)
	if err != nil {
		return fmt.Errorf("reading the audit policy: %w", err)
	}
	s.log = &lumberjack.Logger{Filename: c.AuditLog, MaxSize: 100}
	generic.AuditPolicyRuleEvaluator = policy.NewPolicyRuleEvaluator(rules)
	generic.AuditBackend = audit.Union(auditlog.NewBackend(s.log, auditlog.FormatJson, auditv1.SchemeGroupVersion))
	return nil
}

func (s *Server) install(scheme *runtime.Scheme, codecs serializer.CodecFactory, a *Authenticators, access authorizer.Authorizer, c Config) error {
	groups := map[schema.GroupVersion]map[string]rest.Storage{
		authenticationv1.SchemeGroupVersion: {
			"tokenreviews": tokenReviews(bearertoken.New(a.Token), c.Credentials.Audiences),
		},
		authorizationv1.SchemeGroupVersion: {
			"subjectaccessreviews":     subjectAccessReviews(access),
			"selfsubjectaccessreviews": selfSubjectAccessReviews(access),
		},
	}
	for gv, storage := range groups {
		info := server.NewDefaultAPIGroupInfo(gv.Group, scheme, runtime.NewParameterCodec(scheme), codecs)
		info.PrioritizedVersions = []schema.GroupVersion{gv}
		info.VersionedResourcesStorageMap["v1"] = storage
		if err := s.generic.InstallAPIGroup(&info); err != nil {
			return fmt.Errorf("installing %s: %w", gv, err)
		}
	}
	return nil
}

// newScheme knows the reviews, each v1 type also as its own internal version.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for gv, objects := range map[schema.GroupVersion][]runtime.Object{
		authenticationv1.SchemeGroupVersion: {&authenticationv1.TokenReview{}},
		authorizationv1.SchemeGroupVersion:  {&authorizationv1.SubjectAccessReview{}, &authorizationv1.SelfSubjectAccessReview{}},
	} {
		s.AddKnownTypes(gv, objects...)
		s.AddKnownTypes(schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal}, objects...)
		metav1.AddToGroupVersion(s, gv)
		if err := s.SetVersionPriority(gv); err != nil {
			panic(err) // the version was added the line before
		}
	}
	return s
}
