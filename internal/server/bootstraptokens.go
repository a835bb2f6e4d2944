package server

import (
	"context"
	"net"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"gatehouse.dev/gatehouse/authn"
	bootstraptoken "gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/clusterinfo"
	"gatehouse.dev/gatehouse/internal/controller/tokencleaner"
)

// bootstrapTokens verifies bootstrap tokens by the Secrets in the store.
func (s *Server) bootstrapTokens(audiences []string) (authn.TokenVerifier, error) {
	return bootstraptoken.New(bootstraptoken.Config{
		Audiences: audiences, Secrets: tokenSecrets{s.objects}, Stripes: s.stripes,
	})
}

// tokenSecrets are the Secrets of bootstrap tokens.
type tokenSecrets struct{ objects *objects }

func (t tokenSecrets) Cached(name string) *bootstraptoken.Secret {
	secret, ok := controller.Cached[*corev1.Secret](t.objects.informers.secrets, bootstraptoken.Namespace, name)
	if !ok {
		return nil
	}
	return tokenSecret(secret)
}

func (t tokenSecrets) Live(ctx context.Context, name string) (*bootstraptoken.Secret, error) {
	secret, err := t.objects.secrets.Get(ctx, bootstraptoken.Namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return tokenSecret(secret), nil
}

func tokenSecret(s *corev1.Secret) *bootstraptoken.Secret {
	return &bootstraptoken.Secret{Type: string(s.Type), Deleted: s.DeletionTimestamp != nil, Data: s.Data}
}

// bootstrapControllers keep what belongs to bootstrap tokens, where they are
// accepted.
func (s *Server) bootstrapControllers() []controller.Named {
	if !s.cfg.Authentication.BootstrapTokens {
		return nil
	}
	o, i, log := s.objects, &s.objects.informers, s.log
	return []controller.Named{
		{Name: "tokencleaner", Run: (&tokencleaner.Controller{Secrets: i.secrets, Store: o.secrets, Log: log}).Run},
		{Name: "clusterinfo", Run: (&clusterinfo.Controller{
			Secrets: i.secrets, ConfigMaps: i.configMaps, Store: o.configMaps,
			Server: externalURL(s.cfg.Serving.ExternalHostname, s.Address()),
			CA:     s.rootCA, Log: log,
		}).Run},
	}
}

// readableClusterInfo lets anybody read cluster-info. What is there stays as it
// is, so an operator who wants nobody to read it removes the subjects of the
// binding.
func (b *bootstrap) readableClusterInfo(ctx context.Context) error {
	role, binding := clusterinfo.Access()
	if err := ensure(ctx, b.objects.roles, role); err != nil {
		return err
	}
	return ensure(ctx, b.objects.bindings, binding)
}

// externalURL returns the URL that machines elsewhere reach the server by: what
// the operator says, or else the address that it listens on, or if that stands
// for all addresses, the one of the machine that has the way out.
func externalURL(external, address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "https://" + address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ownAddress()
	}
	if external != "" {
		host = externalHost(external)
		if _, p, err := net.SplitHostPort(external); err == nil {
			port = p
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}

func ownAddress() string {
	if ip, err := utilnet.ChooseHostInterface(); err == nil {
		return ip.String()
	}
	if all := localAddresses(); len(all) > 0 {
		return all[0].String()
	}
	return "127.0.0.1"
}

// externalHost returns what --external-hostname says, without a port.
func externalHost(external string) string {
	if host, _, err := net.SplitHostPort(external); err == nil {
		return host
	}
	return external
}
