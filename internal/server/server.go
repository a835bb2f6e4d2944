// Package server assembles a Gatehouse from its configuration: it is the only
// place where every part is seen together.
//
// [New] builds from the bottom up and touches nothing outside the process but
// the data directory and the listener; first it reads what the operator brought,
// as [Check] does alone, and then it listens, so that neither a bad file nor a
// port that is taken leaves anything half made. [Server.Run] serves until it is told
// to stop, and then stops in the opposite order.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz/node"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/api/policy"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/authorizers"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/internal/freshness"
	"gatehouse.dev/gatehouse/internal/listener"
	streams "gatehouse.dev/gatehouse/internal/live"
	"gatehouse.dev/gatehouse/internal/metrics"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/reload"
	"gatehouse.dev/gatehouse/internal/revocation"
	"gatehouse.dev/gatehouse/internal/tarpit"
)

// compactionInterval is how much history the store keeps, as upstream: enough
// for a watch that was interrupted to go on.
const compactionInterval = 5 * time.Minute

// A Server is one Gatehouse. Use [New].
type Server struct {
	cfg     *config.Configuration
	release string
	log     *slog.Logger

	listener  *listener.Listener
	directory *etcd.Directory
	material  *material
	embedded  *etcd.Embedded
	client    *clientv3.Client
	space     *etcd.Keeper

	trail      *audit.Trail
	book       *explain.Book
	ledger     *ledger.Ledger
	serials    *ledger.Ledger
	keys       *ledger.Ledger // that certificates are for
	register   *register.Register
	uses       *register.Uses
	metrics    *metrics.Registry
	webhooks   *metrics.Webhooks
	api        *api.API
	objects    *objects
	index      *rbac.Index
	nodes      *node.Index
	revoked    *revocation.Index
	revoking   *revocation.Feed
	authorizer *authorizers.Live
	// signing signs service account tokens, and root, which may be nil, is the
	// file of --root-ca-file. Both are followed.
	signing     *tokenKeys
	root        *reload.File[[]byte]
	credentials *credentials
	// live knows the streams that are open.
	live *streams.Registry
	// view is what this process knows of the store, and epoch how often what is
	// revoked has changed.
	view    *freshness.View
	epoch   *epoch.Keeper
	stripes *authn.Stripes
	tarpit  *tarpit.Tarpit
	// certificateStatus are the authorities that say what they have revoked.
	certificateStatus []certifier
	// defaults are the roles of a fresh server, until they are stored.
	defaults *policy.Policy
	runner   *controller.Runner
	web      *http.Server

	// draining is done when streams are to end, and serving until then.
	draining context.Context
	drain    context.CancelFunc
	// calling is done when no webhook is to be called any more.
	calling   context.Context
	stopCalls context.CancelFunc
	// stopInformers ends what follows the store.
	stopInformers context.CancelFunc
}

// New builds a server that serves cfg, which must be valid, and returns once it
// could answer. It listens already, and serves when [Server.Run] is called. On
// an error nothing of it goes on; a data directory that was made by then is
// whole, and the next start goes on with it.
func New(ctx context.Context, cfg *config.Configuration, release string, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, release: release, log: log, index: rbac.New(), nodes: node.New(), revoked: revocation.New(), stripes: authn.NewStripes(), tarpit: tarpit.New()}
	s.draining, s.drain = context.WithCancel(context.WithoutCancel(ctx))
	s.calling, s.stopCalls = context.WithCancel(context.WithoutCancel(ctx))
	check := func(ctx context.Context) error { return Check(ctx, cfg) }
	for _, step := range []func(context.Context) error{
		check, s.listen, s.openStore, s.buildAPI, s.followStore, s.populate, s.buildDoor, s.leaveAddress,
	} {
		if err := step(ctx); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context) error {
	address := net.JoinHostPort(s.cfg.Serving.BindAddress.String(), strconv.Itoa(s.cfg.Serving.SecurePort))
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	s.listener = s.sharedOut(socket)
	return nil
}

// openStore starts or reaches etcd, and reads meanwhile what needs no store:
// keys, certificates, the audit policy and the default roles.
func (s *Server) openStore(ctx context.Context) error {
	if dir := s.cfg.Storage.DataDir; dir != "" {
		var err error
		if s.directory, err = etcd.Open(dir); err != nil {
			return err
		}
	}
	var work errgroup.Group
	work.Go(func() (err error) {
		s.material, err = gather(s.draining, s.cfg, s.directory, s.log)
		return err
	})
	work.Go(func() (err error) {
		s.trail, err = audit.New(auditConfig(s.cfg))
		return err
	})
	work.Go(func() (err error) {
		s.defaults, err = policy.Load()
		return err
	})
	err := s.connect(ctx)
	if err := errors.Join(err, work.Wait()); err != nil {
		return err
	}
	s.metrics = metrics.New(s.release)
	s.webhooks = s.metrics.Webhooks()
	s.space = etcd.NewKeeper(s.client, s.embedded, s.log)
	s.openBook()
	s.openRegister()
	if err := s.openSigning(ctx); err != nil {
		return err
	}
	if err := s.material.claim.Hold(ctx, s.client); err != nil {
		return err
	}
	s.epoch, err = epoch.Open(ctx, s.client, s.epochFile(), s.log)
	return err
}

func (s *Server) connect(ctx context.Context) (err error) {
	log := s.log.With("component", "etcd")
	if s.directory != nil && len(s.cfg.Storage.Etcd.Servers) == 0 {
		if s.embedded, err = etcd.Start(ctx, s.directory.Join("etcd"), log, etcd.WithQuota(s.cfg.Storage.QuotaBackendBytes)); err != nil {
			return err
		}
		s.client = s.embedded.Client()
		return nil
	}
	s.client, err = etcd.Connect(ctx, external(s.cfg), log)
	return err
}

// external says how the etcd cluster is reached, if there is one.
func external(cfg *config.Configuration) etcd.External {
	e := cfg.Storage.Etcd
	return etcd.External{Servers: e.Servers, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile}
}

func (s *Server) buildAPI(ctx context.Context) error {
	err := s.openAuthorizers()
	if err != nil {
		return err
	}
	s.api, err = api.New(api.Config{
		Client: s.client, Prefix: s.cfg.Storage.Etcd.Prefix, CompactionInterval: compactionInterval,
		Transformers:   s.material.atRest.Transformers,
		Address:        s.listener.Addr().String(),
		Release:        s.release,
		RequestTimeout: time.Duration(s.cfg.Limits.RequestTimeout),
		Admission:      s.admission(),
		Authorizer:     s.authorizer,
		Tokens:         s.tokenRequests(),
		Beside:         []metav1.APIResourceList{besideResources()},
		Written:        s.counted(),
		Changed:        stripesOf{s.stripes, s.log}.changed,
		Created:        s.revocations((*revocation.Feed).Created),
		Deleted:        s.revocations((*revocation.Feed).Deleted),
	})
	if err != nil {
		return err
	}
	if s.objects, err = openObjects(s.api); err != nil {
		return err
	}
	s.revoking = revocation.NewFeed(s.revoked, func(ctx context.Context, name string) (*v1alpha1.Revocation, error) {
		return s.objects.revocations.Get(ctx, "", name)
	}, s.log)
	return s.api.Start(ctx)
}

// followStore starts the informers, and returns when they have caught up.
func (s *Server) followStore(ctx context.Context) error {
	s.openLive()
	s.openView()
	i := &s.objects.informers
	var synced []cache.InformerSynced
	if err := errors.Join(followRoles(i, s.index, &synced), s.followPods(i, &synced), stripesOf{s.stripes, s.log}.follow(i, &synced)); err != nil {
		return fmt.Errorf("following the store: %w", err)
	}
	revocations, err := s.revoking.Follow(i.revocations)
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopInformers = stop
	synced = append(synced, revocations)
	for _, informer := range i.all() {
		go informer.RunWithContext(following)
		synced = append(synced, informer.HasSynced)
	}
	if !waitFor(ctx, synced) {
		return fmt.Errorf("reading the store: %w", context.Cause(ctx))
	}
	// Whatever it is that was taken back: it must not be let in.
	if err := s.revoking.Problem(); err != nil {
		return fmt.Errorf("reading what is revoked: %w: start a version of the server that knows it, or delete it with one", err)
	}
	go s.view.Run(following)
	return nil
}

// waitFor polls faster than the library does, which waits 100 ms: on an empty
// store everything is there after a few.
func waitFor(ctx context.Context, synced []cache.InformerSynced) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		all := true
		for _, f := range synced {
			all = all && f()
		}
		if all {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// populate makes what has to be there.
func (s *Server) populate(ctx context.Context) error {
	err := s.bootstrap().run(ctx, s.defaults)
	s.defaults = nil // a megabyte that nobody looks at again
	if err != nil {
		return err
	}
	if err := s.takeSpool(ctx); err != nil {
		s.log.ErrorContext(ctx, "a credential that was issued without the server is not in the register", "err", err)
	}
	return nil
}

func (s *Server) bootstrap() *bootstrap {
	return &bootstrap{
		objects: s.objects, clientCAs: s.material.clientCAs, proxies: s.cfg.Authentication.RequestHeader,
		tokens: s.cfg.Authentication.BootstrapTokens, log: s.log,
	}
}

func (s *Server) buildDoor(ctx context.Context) error {
	digestKey, err := sharedDigestKey(ctx, s.objects)
	if err != nil {
		return err
	}
	s.credentials, err = s.identify(liveObjects{s.objects, s.whileFresh}, digestKey)
	if err != nil {
		return err
	}
	if name := s.authorizer.Followed(); name != "" {
		s.credentials.follow(name, s.authorizer.Status, s.authorizer.Run)
	}
	if err := errors.Join(s.followSigning(), s.followRoot()); err != nil {
		return err
	}
	s.followPairs()
	if s.certificateStatus, err = s.certifiers(); err != nil {
		return err
	}
	if s.runner, err = s.controllers(); err != nil {
		return err
	}
	handler, err := s.door()
	if err != nil {
		return err
	}
	s.countStrangers()
	s.web, err = s.webServer(handler)
	return err
}

// Address returns where the server listens, as host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Handler returns the front door: what [Server.Run] serves, for callers in the
// same process. It expects the connection of a request in its context, as
// [authn.WithConn] puts it there.
func (s *Server) Handler() http.Handler { return s.web.Handler }

// Authority returns our own certificate authority, or nil if there is none.
func (s *Server) Authority() *pki.Authority { return s.material.authority }

// Storage says in a few words where the objects are.
func (s *Server) Storage() string {
	if s.embedded != nil {
		return "embedded etcd in " + s.directory.Path
	}
	return fmt.Sprintf("etcd at %v", s.client.Endpoints())
}

// close takes down what New has built so far, the newest first.
func (s *Server) close() {
	s.drain()
	s.stopCalls()
	if s.trail != nil {
		_ = s.trail.Shutdown()
	}
	if s.stopInformers != nil {
		s.stopInformers()
	}
	if s.signing != nil && s.signing.external != nil {
		s.signing.external.Close()
	}
	if s.api != nil {
		s.api.Close()
	}
	switch {
	case s.embedded != nil:
		s.embedded.Close()
	case s.client != nil:
		_ = s.client.Close()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.directory != nil {
		s.directory.Close()
	}
}
