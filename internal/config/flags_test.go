package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/internal/config"
)

// upstream has the flags of kube-apiserver v1.37 that are ours as well, each
// with its type and default as kube-apiserver has them, and "" where its default
// is empty. Where ours differ the line says so.
const upstream = `
anonymous-auth                          bool          true
api-audiences                           stringSlice   []
audit-log-batch-buffer-size             int           10000
audit-log-batch-max-size                int           1
audit-log-batch-max-wait                duration      0s
audit-log-batch-throttle-burst          int           0
audit-log-batch-throttle-enable         bool          false
audit-log-batch-throttle-qps            float32       0
audit-log-compress                      bool          false
audit-log-format                        string        json
audit-log-maxage                        int           366
audit-log-maxbackup                     int           100
audit-log-maxsize                       int           100
audit-log-mode                          string        blocking
audit-log-path                          string
audit-log-truncate-enabled              bool          false
audit-log-truncate-max-batch-size       int64         10485760
audit-log-truncate-max-event-size       int64         102400
audit-log-version                       string        audit.k8s.io/v1
audit-policy-file                       string
audit-webhook-batch-buffer-size         int           10000
audit-webhook-batch-max-size            int           400
audit-webhook-batch-max-wait            duration      30s
audit-webhook-batch-throttle-burst      int           15
audit-webhook-batch-throttle-enable     bool          true
audit-webhook-batch-throttle-qps        float32       10
audit-webhook-config-file               string
audit-webhook-initial-backoff           duration      10s
audit-webhook-mode                      string        batch
audit-webhook-truncate-enabled          bool          false
audit-webhook-truncate-max-batch-size   int64         10485760
audit-webhook-truncate-max-event-size   int64         102400
audit-webhook-version                   string        audit.k8s.io/v1
authentication-config                   string
authentication-token-webhook-cache-ttl  duration      2m0s
authentication-token-webhook-config-file string
authentication-token-webhook-reserved-name stringArray []                not in kube-apiserver
authentication-token-webhook-version    string        v1beta1
authorization-config                    string
authorization-mode                      stringSlice   [Node,RBAC]       kube-apiserver: [AlwaysAllow]
authorization-webhook-cache-authorized-ttl duration   5m0s
authorization-webhook-cache-unauthorized-ttl duration 30s
authorization-webhook-config-file       string
authorization-webhook-version           string        v1beta1
basic-auth-file                         string                          of kube-apiserver 1.18
bind-address                            ip            0.0.0.0
cert-dir                                string                          kube-apiserver: /var/run/kubernetes
client-ca-file                          string
cluster-signing-cert-file                         string               of kube-controller-manager
cluster-signing-duration                          duration  720h0m0s   kube-controller-manager: 8760h0m0s
cluster-signing-key-file                          string               of kube-controller-manager
cluster-signing-kube-apiserver-client-cert-file   string               of kube-controller-manager
cluster-signing-kube-apiserver-client-key-file    string               of kube-controller-manager
cluster-signing-kube-apiserver-client-renewable-for duration 0s not in kube-controller-manager
cluster-signing-kubelet-client-cert-file          string               of kube-controller-manager
cluster-signing-kubelet-client-key-file           string               of kube-controller-manager
cluster-signing-kubelet-serving-cert-file         string               of kube-controller-manager
cluster-signing-kubelet-serving-key-file          string               of kube-controller-manager
cluster-signing-legacy-unknown-cert-file          string               of kube-controller-manager
cluster-signing-legacy-unknown-key-file           string               of kube-controller-manager
config                                  string                          not in kube-apiserver
data-dir                                string                          not in kube-apiserver
disable-admission-plugins               stringSlice   []
enable-admission-plugins                stringSlice   []
enable-bootstrap-token-auth             bool          false
encryption-provider-config              string
etcd-cafile                             string
etcd-certfile                           string
etcd-keyfile                            string
etcd-prefix                             string        /registry
etcd-servers                            stringSlice   []
external-hostname                       string
hashed-token-file                       string                          not in kube-apiserver
htpasswd-file                           string                          not in kube-apiserver
htpasswd-groups-file                    string                          not in kube-apiserver
jwt-claim-sources                       stringSlice   []                not in kube-apiserver
jwt-max-key-age                         duration      24h0m0s           not in kube-apiserver
jwt-reserved-name                       stringArray   []                not in kube-apiserver
jwt-signing-algs                        stringSlice   [ES256,ES384,ES512,PS256,PS384,PS512,RS256,RS384,RS512] not in kube-apiserver
max-mutating-requests-inflight          int           200
max-requests-inflight                   int           400
max-staleness                           duration      10s               not in kube-apiserver
oidc-ca-file                            string
oidc-client-id                          string
legacy-service-account-token-clean-up-period duration 8760h0m0s        of kube-controller-manager
oidc-groups-claim                       string
oidc-groups-prefix                      string
oidc-issuer-url                         string
oidc-required-claim                     stringArray   []                kube-apiserver: of its own type mapStringString
oidc-signing-algs                       stringSlice   [RS256]
oidc-username-claim                     string        sub
oidc-username-prefix                    string
quota-backend-bytes                     int64         8589934592        of etcd
request-timeout                         duration      1m0s
requestheader-allowed-names             stringSlice   []
requestheader-client-ca-file            string
requestheader-extra-headers-prefix      stringSlice   []
requestheader-group-headers             stringSlice   []
requestheader-uid-headers               stringSlice   []
requestheader-username-headers          stringSlice   []
revocation-epoch-file                   string                          not in kube-apiserver
root-ca-file                            string                          of kube-controller-manager
secure-port                             int           6443
serve-stale                             bool          false             not in kube-apiserver
service-account-auto-token-secrets      bool          false             not in kube-apiserver
service-account-extend-token-expiration bool          true
service-account-issuer                  stringArray   []
service-account-jwks-uri                string
service-account-key-file                stringArray   []
service-account-lookup                  bool          true
service-account-max-token-expiration    duration      0s
service-account-signing-endpoint        string
service-account-signing-key-file        string
tls-cert-file                           string
tls-cipher-suites                       stringSlice   []
tls-min-version                         string
tls-private-key-file                    string
tls-sni-cert-key                        namedCertKey  []
token-auth-file                         string
v                                       int           0                 kube-apiserver: of its own type Level
`

func TestFlagsAreThoseOfKubernetes(t *testing.T) {
	set := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(set, config.Default())
	want := make(map[string]bool)
	for line := range strings.Lines(strings.TrimSpace(upstream)) {
		fields := strings.Fields(line)
		name, kind, value := fields[0], fields[1], ""
		if kind != "string" || len(fields) == 3 {
			value = fields[2]
		}
		want[name] = true
		f := set.Lookup(name)
		if f == nil {
			t.Errorf("there is no --%s", name)
			continue
		}
		if f.Value.Type() != kind || value != "" && f.DefValue != value {
			t.Errorf("--%s is of type %s, by default %q; want %s, %q", name, f.Value.Type(), f.DefValue, kind, value)
		}
		if f.Usage == "" || strings.Contains(f.Usage, "Default:") {
			t.Errorf("--%s has the usage %q", name, f.Usage)
		}
	}
	set.VisitAll(func(f *pflag.Flag) {
		if !want[f.Name] {
			t.Errorf("--%s is not expected", f.Name)
		}
	})
}

// load parses args as a command line and returns what is in effect.
func load(t *testing.T, args ...string) (*config.Configuration, error) {
	t.Helper()
	set := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags := config.AddFlags(set, config.Default())
	if err := set.Parse(args); err != nil {
		t.Fatalf("parsing %v: %v", args, err)
	}
	return flags.Load()
}

func TestFlagsWinOverFile(t *testing.T) {
	c, err := load(t, "--config=testdata/example.good.yaml",
		"--secure-port=8443", "--bind-address=::1", "--anonymous-auth=true",
		"--service-account-issuer=https://a,b", "--service-account-issuer=c",
		"--etcd-servers=https://x:2379,https://y:2379", "--etcd-servers=https://z:2379",
		"--tls-sni-cert-key=a.crt,a.key:a.example.org, b.example.org", "--tls-sni-cert-key=b.crt,b.key",
		"--request-timeout=2m", "--audit-webhook-batch-throttle-qps=1.5",
		// The same as by default, and not as in the file.
		"--etcd-prefix=/registry",
	)
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Read("testdata/example.good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want.Serving.SecurePort = 8443
	want.Serving.BindAddress = []byte{15: 1}
	want.Serving.TLSSNICertKeys = []config.NamedCertificate{
		{CertFile: "a.crt", KeyFile: "a.key", Names: []string{"a.example.org", "b.example.org"}},
		{CertFile: "b.crt", KeyFile: "b.key"},
	}
	want.Authentication.Anonymous = true
	want.ServiceAccounts.Issuers = []string{"https://a,b", "c"}
	want.Storage.Etcd.Servers = []string{"https://x:2379", "https://y:2379", "https://z:2379"}
	want.Storage.Etcd.Prefix = "/registry"
	want.Limits.RequestTimeout = config.Duration(120e9)
	want.Audit.Webhook.Batch.ThrottleQPS = 1.5
	if got, want := asJSON(t, c), asJSON(t, want); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A file keeps whatever it does not mention at the defaults of the command,
// which for gatehouse up are others.
func TestFileKeepsDefaultsOfCommand(t *testing.T) {
	defaults := config.Default()
	defaults.Storage.DataDir = "own"
	defaults.Serving.SecurePort = 7443
	set := pflag.NewFlagSet("up", pflag.ContinueOnError)
	flags := config.AddFlags(set, defaults)
	path := filepath.Join(t.TempDir(), "file.yaml")
	file := "apiVersion: " + config.APIVersion + "\nkind: " + config.Kind + "\nserving: {securePort: 443, certDir: certs}\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := set.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	c, err := flags.Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Storage.DataDir != "own" || c.Serving.SecurePort != 443 {
		t.Errorf("dataDir is %q, securePort %d; want own, 443", c.Storage.DataDir, c.Serving.SecurePort)
	}
	if want := filepath.Join(filepath.Dir(path), "certs"); c.Serving.CertDir != want {
		t.Errorf("certDir is %q, want %q", c.Serving.CertDir, want)
	}
	if defaults.Serving.SecurePort != 7443 {
		t.Error("the defaults were written to")
	}
}

func TestExplainFlag(t *testing.T) {
	for _, test := range []struct{ arg, want string }{
		{"--secure-prt=1", "--secure-prt: there is no such flag; did you mean --secure-port?"},
		{"--securePort=1", "--securePort: there is no such flag; did you mean --secure-port?"},
		{"--etcd-ca-file=x", "--etcd-ca-file: there is no such flag; did you mean --etcd-cafile?"},
		{"--service-node-port-range=x", "--service-node-port-range: there is no such flag; remove it; --help lists every flag, and flags of kube-apiserver without an effect here are not accepted"},
		{"--secure-port=https", `--secure-port: "https" is not of type int; see --help for the values of each flag`},
		{"--tls-sni-cert-key=a.crt", `--tls-sni-cert-key: "a.crt" is not of type namedCertKey; see --help for the values of each flag`},
		{"--tls-sni-cert-key=a,b:", `--tls-sni-cert-key: "a,b:" is not of type namedCertKey; see --help for the values of each flag`},
		{"--secure-port", "command line: flag needs an argument: --secure-port; see --help for the values of each flag"},
	} {
		set := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		config.AddFlags(set, config.Default())
		err := set.Parse([]string{test.arg})
		if err == nil {
			t.Errorf("%s is accepted", test.arg)
			continue
		}
		if got := config.ExplainFlag(set, err).Error(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.arg, got, test.want)
		}
	}
}

func TestNoPasswordIsListed(t *testing.T) {
	c, err := load(t, "--etcd-servers=https://root:hunter2@a:2379")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := errors.Join(c.WriteYAML(&out), c.WriteJSON(&out)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Count(out.String(), "REDACTED@a:2379") != 2 {
		t.Errorf("listed as\n%s", out.String())
	}
}
