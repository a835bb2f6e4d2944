package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/bench/upstream"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/admission"
	"gatehouse.dev/gatehouse/internal/api"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/server"
)

const (
	issuer = "https://kubernetes.default.svc.cluster.local"
	// caller is the user of all requests, by token and by certificate. The same
	// rights are bound to the service account with this name.
	caller      = "bench"
	staticToken = "0123456789abcdef0123456789abcdef"
	// readerRole lets the caller read.
	readerRole = "bench-reader"
)

// A pair is the two front doors, with the same callers, the same rights and the
// same audit policy, and objects of their own in a store of their own.
type pair struct {
	ours, theirs http.Handler

	cert    *x509.Certificate
	account string // a token of the service account
	// admin makes one request at our front door as an administrator, with JSON
	// both ways.
	admin func(method, path string, in, out any) error

	closers []func() error
}

// newPair builds both. Everything they keep is in dir.
func newPair(dir, auditPolicy string) (p *pair, err error) {
	p = &pair{}
	defer func() {
		if err != nil {
			_ = p.close()
		}
	}()
	tokens, policy := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(tokens, []byte(staticToken+","+caller+",1\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	authority, err := p.startOurs(dir, tokens, policy)
	if err != nil {
		return nil, fmt.Errorf("starting our side: %w", err)
	}
	cfg := upstream.Config{AuditPolicy: policy, AuditLog: filepath.Join(dir, "upstream-audit.log")}
	cfg.Credentials = upstream.Credentials{Roots: x509.NewCertPool(), TokenFile: tokens, Audiences: []string{issuer}}
	cfg.Credentials.Roots.AddCert(authority.Certificate())
	if err := p.prepare(authority, &cfg); err != nil {
		return nil, fmt.Errorf("preparing our side: %w", err)
	}
	if err := p.startTheirs(dir, cfg); err != nil {
		return nil, fmt.Errorf("starting upstream's side: %w", err)
	}
	return p, nil
}

func (p *pair) close() error {
	var err error
	for i := len(p.closers) - 1; i >= 0; i-- {
		if e := p.closers[i](); err == nil {
			err = e
		}
	}
	return err
}

// startOurs runs a whole Gatehouse, of which only the handler is used.
func (p *pair) startOurs(dir, tokens, policy string) (*pki.Authority, error) {
	cfg := config.Default()
	cfg.Serving.BindAddress = []byte{127, 0, 0, 1}
	cfg.Serving.SecurePort = 0 // any; nobody calls it
	cfg.Storage.DataDir = filepath.Join(dir, "data")
	cfg.ServiceAccounts.Issuers = []string{issuer}
	cfg.Authentication.TokenFile = tokens
	cfg.Audit.PolicyFile = policy
	cfg.Audit.Log.Path = filepath.Join(dir, "audit.log")
	ctx, stop := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, "bench", quiet())
	if err != nil {
		stop()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p.closers = append(p.closers, func() error { stop(); return <-done })
	p.ours = s.Handler()
	return s.Authority(), nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// prepare makes the caller's rights and its token through our front door, and
// reads there what the other side needs to give the same answers.
func (p *pair) prepare(authority *pki.Authority, theirs *upstream.Config) error {
	issued, err := authority.IssueClient(pki.Client{CommonName: caller, Lifetime: time.Hour})
	if err != nil {
		return err
	}
	p.cert = issued.Certificate
	admin, err := authority.IssueClient(pki.Client{CommonName: "admin", Groups: []string{"system:masters"}, Lifetime: time.Hour})
	if err != nil {
		return err
	}
	p.admin = func(method, path string, in, out any) error {
		return p.administer(admin.Certificate, method, path, in, out)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: caller}}
	if err := p.admin("POST", "/api/v1/namespaces/default/serviceaccounts", account, account); err != nil {
		return err
	}
	for role, rules := range map[string][]rbacv1.PolicyRule{
		readerRole:              {{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts", "pods"}}},
		"system:auth-delegator": nil,
	} {
		if rules != nil {
			if err := p.admin("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role}, Rules: rules}, nil); err != nil {
				return err
			}
		}
		if err := p.admin("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding(role), nil); err != nil {
			return err
		}
	}
	request := &authenticationv1.TokenRequest{}
	if err := p.admin("POST", "/api/v1/namespaces/default/serviceaccounts/"+caller+"/token", request, request); err != nil {
		return err
	}
	p.account = request.Status.Token
	theirs.Credentials.Accounts = map[string]*identity.Identity{p.account: {
		Name: identity.ServiceAccountPrefix + "default:" + caller, UID: string(account.UID),
		Groups: []string{identity.GroupServiceAccounts, identity.ServiceAccountGroupPrefix + "default", identity.GroupAuthenticated},
		Extra:  map[string][]string{identity.CredentialIDKey: {"JTI=00000000-0000-0000-0000-000000000000"}},
	}}
	return readObjects(p.admin, &theirs.Objects)
}

// binding binds a role to the caller, as a user and as a service account.
func binding(role string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: caller + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{
			{Kind: "User", APIGroup: rbacv1.GroupName, Name: caller},
			{Kind: "ServiceAccount", Namespace: "default", Name: caller},
		},
	}
}

// readObjects lists all roles and bindings.
func readObjects(do func(method, path string, in, out any) error, o *rbac.Objects) error {
	var (
		roles           rbacv1.RoleList
		clusterRoles    rbacv1.ClusterRoleList
		bindings        rbacv1.RoleBindingList
		clusterBindings rbacv1.ClusterRoleBindingList
	)
	for resource, list := range map[string]any{
		"roles": &roles, "clusterroles": &clusterRoles, "rolebindings": &bindings, "clusterrolebindings": &clusterBindings,
	} {
		if err := do("GET", "/apis/rbac.authorization.k8s.io/v1/"+resource, nil, list); err != nil {
			return err
		}
	}
	o.Roles, o.ClusterRoles = pointers(roles.Items), pointers(clusterRoles.Items)
	o.RoleBindings, o.ClusterRoleBindings = pointers(bindings.Items), pointers(clusterBindings.Items)
	return nil
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// administer makes one request at our front door with a certificate.
func (p *pair) administer(cert *x509.Certificate, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequest(method, path, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", runtime.ContentTypeJSON)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	w := newWriter(true)
	p.ours.ServeHTTP(w, r.WithContext(authn.WithConn(r.Context(), new(authn.Conn))))
	if w.status/100 != 2 {
		return fmt.Errorf("%s %s: %d: %s", method, path, w.status, w.body.Bytes())
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(w.body.Bytes(), out)
}

// startTheirs runs the generic server. Its resources are ours, on a store of
// their own, without the front door.
func (p *pair) startTheirs(dir string, cfg upstream.Config) error {
	store, err := etcd.Start(context.Background(), filepath.Join(dir, "upstream-etcd"), quiet())
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { store.Close(); return nil })
	resources, err := api.New(api.Config{
		Client: store.Client(), Prefix: "/registry", Address: "127.0.0.1:6443", Release: "bench",
		RequestTimeout: time.Minute, Admission: admission.Chain{}, Authorizer: authz.AlwaysAllow(),
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { resources.Close(); return nil })
	if err := resources.Start(context.Background()); err != nil {
		return err
	}
	accounts, err := api.ObjectsOf[*corev1.ServiceAccount](resources, "", "serviceaccounts")
	if err != nil {
		return err
	}
	if _, err := accounts.Create(context.Background(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: caller}}); err != nil {
		return err
	}
	cfg.Resources = resources.Handler()
	s, err := upstream.New(cfg)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, s.Close)
	p.theirs = s.Handler
	return nil
}
