package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/api/policy"
	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/aggregation"
	"gatehouse.dev/gatehouse/internal/controller/leader"
	"gatehouse.dev/gatehouse/internal/controller/legacytokens"
	"gatehouse.dev/gatehouse/internal/controller/namespaces"
	"gatehouse.dev/gatehouse/internal/controller/revocations"
	"gatehouse.dev/gatehouse/internal/controller/rootca"
	"gatehouse.dev/gatehouse/internal/controller/serviceaccounts"
	"gatehouse.dev/gatehouse/internal/controller/tokens"
	"gatehouse.dev/gatehouse/internal/controller/workloads"
)

// controllers returns what keeps the objects as they should be. Where other
// processes may share the store, they elect one of them to do it.
func (s *Server) controllers() (*controller.Runner, error) {
	o, i, log := s.objects, &s.objects.informers, s.log
	emptier, err := s.namespaceController()
	if err != nil {
		return nil, err
	}
	runner := &controller.Runner{Log: log, Controllers: []controller.Named{
		{Name: "serviceaccounts", Run: (&serviceaccounts.Controller{
			Namespaces: i.namespaces, Accounts: i.accounts, Store: o.accounts, Log: log,
		}).Run},
		{Name: "rootca", Run: (&rootca.Controller{
			Namespaces: i.namespaces, ConfigMaps: i.configMaps, Store: o.configMaps, CA: s.rootCA, Log: log,
		}).Run},
		{Name: "tokens", Run: (&tokens.Controller{
			Accounts: i.accounts, Secrets: i.secrets, AccountStore: o.accounts, SecretStore: o.secrets,
			Token: s.legacyToken, CA: s.rootCA, AutoSecrets: s.cfg.ServiceAccounts.AutoTokenSecrets, Log: log,
		}).Run},
		{Name: "legacytokens", Run: (&legacytokens.Cleaner{
			Accounts: i.accounts, Secrets: i.secrets, Pods: i.pods, ConfigMaps: i.configMaps,
			AccountStore: o.accounts, SecretStore: o.secrets, ConfigMapStore: o.configMaps,
			Period: time.Duration(s.cfg.ServiceAccounts.LegacyTokenCleanUpPeriod), Log: log,
		}).Run},
		{Name: "namespaces", Run: emptier.Run},
		{Name: "aggregation", Run: (&aggregation.Controller{
			Roles: i.clusterRoles, Store: o.clusterRoles, Union: s.union, Log: log,
		}).Run},
		{Name: "encryption", Run: s.rewriteSecrets},
		{Name: "revocations", Run: (&revocations.Controller{
			Revocations: i.revocations, Store: o.revocations, Ends: s.chainEnds, Log: log,
		}).Run},
		s.registerKeeper(),
		s.listController(),
	}, Everywhere: []controller.Named{
		// Each process has watched for itself how long a lease was not renewed.
		{Name: "workloads", Run: (&workloads.Controller{
			Pods: i.pods, Leases: i.leases, PodStore: o.pods, LeaseStore: o.leases, Log: log,
		}).Run},
	}}
	runner.Controllers = slices.Concat(runner.Controllers, s.bootstrapControllers(), s.certificateControllers())
	if s.embedded != nil {
		return runner, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("reading the host name: %w", err)
	}
	random := make([]byte, 8)
	rand.Read(random)
	election, err := leader.New(o.leases, host+"_"+hex.EncodeToString(random), log)
	if err != nil {
		return nil, err
	}
	runner.Leader = election
	return runner, nil
}

func (s *Server) namespaceController() (*namespaces.Controller, error) {
	o := s.objects
	var contents []namespaces.Contents
	for _, resource := range s.api.Namespaced() {
		store, err := api.ObjectsOf[api.Object](s.api, resource.Group, resource.Resource)
		if err != nil {
			return nil, err
		}
		contents = append(contents, namespaces.Of(resource, store))
	}
	grace := namespaces.DefaultGrace
	if s.embedded != nil {
		grace = -1 // no other process could admit anything meanwhile
	}
	return &namespaces.Controller{
		Namespaces: o.informers.namespaces,
		Get: func(ctx context.Context, name string) (*corev1.Namespace, error) {
			return o.namespaces.Get(ctx, "", name)
		},
		UpdateStatus: o.namespaceStatus.Update,
		Finalize: func(ctx context.Context, ns *corev1.Namespace) error {
			_, err := o.namespaceFinalize.Update(ctx, ns)
			return err
		},
		Contents: contents,
		Grace:    grace,
		Log:      s.log,
	}, nil
}

// union is what an aggregated role shall have. A selector that cannot be read
// selects nothing; validation has refused it.
func (s *Server) union(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) []rbacv1.PolicyRule {
	rules, err := policy.Aggregate(role, all)
	if err != nil {
		s.log.Warn("an aggregation rule cannot be read", "clusterrole", role.Name, "err", err)
	}
	return rules
}

// rewriteSecrets writes each Secret once more that was encrypted with a key
// other than the first. The store does nothing for those that were not.
func (s *Server) rewriteSecrets(ctx context.Context) error {
	all, err := s.objects.secrets.List(ctx, "")
	if err != nil {
		return fmt.Errorf("listing secrets to encrypt anew: %w", err)
	}
	for _, secret := range all {
		_, err := s.objects.secrets.Update(ctx, secret)
		if err := controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict); err != nil {
			return fmt.Errorf("encrypting secret %s/%s anew: %w", secret.Namespace, secret.Name, err)
		}
	}
	if ids := s.material.atRest.IDs; len(ids) > 1 {
		s.log.Info("every secret was written anew with the first key", "key", ids[0], "secrets", len(all))
	}
	<-ctx.Done()
	return nil
}
