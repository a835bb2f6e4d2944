package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/server"
)

// operatorFiles makes one good file of each kind, and returns their folder.
func operatorFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var proxies *pki.Authority
	for _, name := range []string{"ca", "proxy-ca", "etcd-ca"} {
		ca, err := pki.OpenAuthority(dir, name, name)
		if err != nil {
			t.Fatal(err)
		}
		proxies = ca
	}
	for _, name := range []string{"serving", "sni", "etcd"} {
		if _, err := pki.OpenServing(proxies, dir, name, []string{"gatehouse.example.org"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := keyring.Open(dir); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, keyring.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "verify.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atrest.Create(filepath.Join(dir, "encryption.yaml")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"tokens.csv":     "joes-t0ken,joe,uid-7\n",
		"users.csv":      "n0tsecret,joe,uid-7\n",
		"users.htpasswd": "jane:$2y$10$oqqQjp3W9KbVSLyTn4gIsO.5XXNnGbzLI7ej4LKvcURm3j22HtZ7q\n",
		"hashed":         "",
		"groups":         "dev: jane\n",
		"policy.yaml":    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n",
		"webhook.kubeconfig": "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n" +
			"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n",
		"authorization.yaml": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: RBAC, name: rbac}]\n",
		"authentication.yaml": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n" +
			"jwt: [{issuer: {url: 'https://issuer.example.org', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parsed returns the configuration that flags come to. DIR in them is dir.
func parsed(t *testing.T, dir string, flags ...string) *config.Configuration {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f := config.AddFlags(set, config.Default())
	for i := range flags {
		flags[i] = strings.ReplaceAll(flags[i], "DIR", dir)
	}
	if err := set.Parse(append(flags, "--service-account-issuer=https://gatehouse.example.org", "--bind-address=127.0.0.1", "--secure-port=1")); err != nil {
		t.Fatal(err)
	}
	cfg, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Every setting that names files, with a command line that it is good in. FILE
// is the file that is made bad.
var fileSettings = []struct{ flag, file, with string }{
	{"tls-cert-file", "serving.crt", "--tls-cert-file=DIR/serving.crt --tls-private-key-file=DIR/serving.key"},
	{"tls-private-key-file", "serving.key", "--tls-cert-file=DIR/serving.crt --tls-private-key-file=DIR/serving.key"},
	{"tls-sni-cert-key", "sni.key", "--tls-sni-cert-key=DIR/sni.crt,DIR/sni.key:a.example.org"},
	{"encryption-provider-config", "encryption.yaml", "--encryption-provider-config=DIR/encryption.yaml"},
	{"etcd-cafile", "etcd-ca.crt", cluster},
	{"etcd-certfile", "etcd.crt", cluster},
	{"etcd-keyfile", "etcd.key", cluster},
	{"client-ca-file", "ca.crt", "--client-ca-file=DIR/ca.crt"},
	{"token-auth-file", "tokens.csv", "--token-auth-file=DIR/tokens.csv"},
	{"authentication-config", "authentication.yaml", "--authentication-config=DIR/authentication.yaml"},
	{"authentication-token-webhook-config-file", "webhook.kubeconfig", "--authentication-token-webhook-config-file=DIR/webhook.kubeconfig"},
	{"basic-auth-file", "users.csv", "--basic-auth-file=DIR/users.csv"},
	{"htpasswd-file", "users.htpasswd", "--htpasswd-file=DIR/users.htpasswd"},
	{"htpasswd-groups-file", "groups", "--htpasswd-file=DIR/users.htpasswd --htpasswd-groups-file=DIR/groups"},
	{"hashed-token-file", "hashed", "--hashed-token-file=DIR/hashed"},
	{"authorization-config", "authorization.yaml", "--authorization-config=DIR/authorization.yaml"},
	{"authorization-webhook-config-file", "webhook.kubeconfig", "--authorization-mode=Webhook --authorization-webhook-config-file=DIR/webhook.kubeconfig"},
	{"oidc-ca-file", "ca.crt", "--oidc-issuer-url=https://issuer.example.org --oidc-client-id=a --oidc-ca-file=DIR/ca.crt"},
	{"requestheader-client-ca-file", "proxy-ca.crt", "--requestheader-client-ca-file=DIR/proxy-ca.crt --requestheader-username-headers=X-Remote-User"},
	{"service-account-key-file", "service-account.key", "--service-account-key-file=DIR/service-account.key"},
	{"service-account-signing-key-file", "service-account.key", "--service-account-signing-key-file=DIR/service-account.key --service-account-key-file=DIR/verify.key"},
	{"root-ca-file", "ca.crt", "--root-ca-file=DIR/ca.crt"},
	{"cluster-signing-cert-file", "ca.crt", "--cluster-signing-cert-file=DIR/ca.crt --cluster-signing-key-file=DIR/ca.key"},
	{"cluster-signing-key-file", "ca.key", "--cluster-signing-cert-file=DIR/ca.crt --cluster-signing-key-file=DIR/ca.key"},
	{"cluster-signing-kubelet-serving-cert-file", "ca.crt", "--cluster-signing-kubelet-serving-cert-file=DIR/ca.crt --cluster-signing-kubelet-serving-key-file=DIR/ca.key"},
	{"cluster-signing-kubelet-serving-key-file", "ca.key", "--cluster-signing-kubelet-serving-cert-file=DIR/ca.crt --cluster-signing-kubelet-serving-key-file=DIR/ca.key"},
	{"cluster-signing-kubelet-client-cert-file", "ca.crt", "--cluster-signing-kubelet-client-cert-file=DIR/ca.crt --cluster-signing-kubelet-client-key-file=DIR/ca.key"},
	{"cluster-signing-kubelet-client-key-file", "ca.key", "--cluster-signing-kubelet-client-cert-file=DIR/ca.crt --cluster-signing-kubelet-client-key-file=DIR/ca.key"},
	{"cluster-signing-kube-apiserver-client-cert-file", "ca.crt", "--cluster-signing-kube-apiserver-client-cert-file=DIR/ca.crt --cluster-signing-kube-apiserver-client-key-file=DIR/ca.key"},
	{"cluster-signing-kube-apiserver-client-key-file", "ca.key", "--cluster-signing-kube-apiserver-client-cert-file=DIR/ca.crt --cluster-signing-kube-apiserver-client-key-file=DIR/ca.key"},
	{"cluster-signing-legacy-unknown-cert-file", "ca.crt", "--cluster-signing-legacy-unknown-cert-file=DIR/ca.crt --cluster-signing-legacy-unknown-key-file=DIR/ca.key"},
	{"cluster-signing-legacy-unknown-key-file", "ca.key", "--cluster-signing-legacy-unknown-cert-file=DIR/ca.crt --cluster-signing-legacy-unknown-key-file=DIR/ca.key"},
	{"audit-policy-file", "policy.yaml", "--audit-policy-file=DIR/policy.yaml --audit-log-path=DIR/audit.log"},
	{"audit-webhook-config-file", "webhook.kubeconfig", "--audit-policy-file=DIR/policy.yaml --audit-webhook-config-file=DIR/webhook.kubeconfig"},
}

// cluster is a command line with an etcd cluster, which nothing here reaches.
const cluster = "--data-dir= --etcd-servers=https://127.0.0.1:1 --etcd-cafile=DIR/etcd-ca.crt --etcd-certfile=DIR/etcd.crt --etcd-keyfile=DIR/etcd.key " +
	"--encryption-provider-config=DIR/encryption.yaml --client-ca-file=DIR/ca.crt --tls-cert-file=DIR/serving.crt --tls-private-key-file=DIR/serving.key " +
	"--service-account-signing-key-file=DIR/service-account.key --service-account-key-file=DIR/service-account.key"

// With a bad file gatehouse config validate and a start say the same, which
// names the setting, the file and the mend, and neither leaves anything behind.
func TestCheckFiles(t *testing.T) {
	for _, tt := range fileSettings {
		t.Run(tt.flag, func(t *testing.T) {
			dir := operatorFiles(t)
			cfg := parsed(t, dir, append([]string{"--data-dir=DIR/data"}, strings.Fields(tt.with)...)...)
			before := listing(t, dir)
			if err := validated(t, cfg); err != nil {
				t.Fatalf("good files are refused: %v", err)
			}
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("the check made something: %v, before %v", after, before)
			}
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte("n0nsense [\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			before = listing(t, dir)
			err := validated(t, cfg)
			if err == nil {
				t.Fatal("a bad file is accepted")
			}
			problems := config.Problems(err)
			if len(problems) == 0 || problems[0].Mend == "" {
				t.Fatalf("no mend: %v", err)
			}
			text := err.Error()
			if !strings.Contains(text, "--"+tt.flag) && !pairOf(tt.flag, text) || !strings.Contains(text, tt.file) || strings.Contains(text, "n0nsense") {
				t.Errorf("refused as %q", text)
			}
			if cfg.Validate() == nil {
				if _, starting := open(t, cfg); starting == nil || starting.Error() != err.Error() {
					t.Errorf("the start says %v, the check %v", starting, err)
				}
			}
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("a start that is refused made something: %v, before %v", after, before)
			}
		})
	}
}

// pairOf reports whether text names the certificate whose key flag is.
func pairOf(flag, text string) bool {
	for key, cert := range map[string]string{"tls-private-key-file": "--tls-cert-file", "etcd-keyfile": "--etcd-certfile"} {
		if flag == key && strings.Contains(text, cert) {
			return true
		}
	}
	signer, ok := strings.CutSuffix(flag, "-key-file")
	return ok && strings.HasPrefix(signer, "cluster-signing") && strings.Contains(text, "--"+signer+"-cert-file")
}

// The files of signers of one's own have no flag.
func TestCheckSignerFiles(t *testing.T) {
	dir := operatorFiles(t)
	cfg := parsed(t, dir, "--data-dir=DIR/data")
	cfg.Certificates.Signers = []config.Signer{{
		Name: "example.com/x", CommonNames: []string{"*"}, Usages: []string{"client auth"}, Duration: config.Duration(time.Hour),
		CertFile: filepath.Join(dir, "ca.crt"), KeyFile: filepath.Join(dir, "ca.key"),
	}}
	if err := validated(t, cfg); err != nil {
		t.Fatalf("good files are refused: %v", err)
	}
	cfg.Certificates.Signers[0].KeyFile = filepath.Join(dir, "etcd-ca.key")
	if err := validated(t, cfg); err == nil || !strings.Contains(err.Error(), "certificates.signers: the key in "+dir+"/etcd-ca.key is not that of") {
		t.Errorf("the key of another CA: %v", err)
	}
}

// Every setting that names a file is in the table, but for those without a flag.
func TestCheckKnowsEveryFile(t *testing.T) {
	for _, section := range config.Reference() {
		for _, s := range section.Settings {
			known := slices.ContainsFunc(fileSettings, func(f struct{ flag, file, with string }) bool { return "--"+f.flag == s.Flag })
			if s.Reads && !known && s.Type != "list of signers" {
				t.Errorf("%s (%s) names a file, and nothing shows that a bad one is refused before the start: add it to fileSettings", s.Path, s.Flag)
			}
		}
	}
}

// All that is wrong is told at once.
func TestCheckTellsAll(t *testing.T) {
	dir := operatorFiles(t)
	cfg := parsed(t, dir, "--data-dir=DIR/data", "--root-ca-file=DIR/tokens.csv", "--tls-sni-cert-key=DIR/sni.crt,DIR/etcd.key",
		"--tls-cert-file=DIR/serving.crt", "--tls-private-key-file=DIR/sni.key",
		"--encryption-provider-config=DIR/policy.yaml", "--audit-policy-file=DIR/encryption.yaml", "--audit-log-path=-")
	problems := config.Problems(validated(t, cfg))
	var got []string
	for _, p := range problems {
		got = append(got, p.Where)
	}
	want := []string{"--root-ca-file", "--tls-cert-file", "--tls-sni-cert-key", "--encryption-provider-config", "--audit-policy-file"}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

// So is all that is wrong with the files of static credentials, and never what
// is in them.
func TestCheckTellsAllStatic(t *testing.T) {
	dir := operatorFiles(t)
	cfg := parsed(t, dir, "--data-dir=DIR/data", "--token-auth-file=DIR/ca.crt", "--hashed-token-file=DIR/tokens.csv",
		"--basic-auth-file=DIR/serving.crt", "--htpasswd-file=DIR/users.csv", "--htpasswd-groups-file=DIR/groups")
	want := []string{
		"--token-auth-file: reading DIR/ca.crt: record 1: need at least 3 columns",
		"--hashed-token-file: reading DIR/tokens.csv: line 1: ",
		"--htpasswd-file: reading DIR/users.csv: line 1: there is no colon after a user name",
		"--basic-auth-file: reading DIR/serving.crt: record 1: need at least 3 columns",
	}
	told := validated(t, cfg)
	if told == nil {
		t.Fatal("bad files are accepted")
	}
	text := strings.ReplaceAll(told.Error(), dir, "DIR")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("not told: %s", w)
		}
	}
	if n := len(config.Problems(told)); n != len(want) {
		t.Errorf("%d problems, want %d:\n%s", n, len(want), text)
	}
	if strings.Contains(text, "t0ken") || strings.Contains(text, "n0tsecret") {
		t.Errorf("told a secret: %s", text)
	}
}

// A signing key that no other server would verify is refused.
func TestSigningKeyAmongOthers(t *testing.T) {
	dir, other := operatorFiles(t), operatorFiles(t)
	cfg := parsed(t, dir, "--data-dir=DIR/data", "--service-account-signing-key-file=DIR/service-account.key",
		"--service-account-key-file="+filepath.Join(other, keyring.FileName))
	if err := validated(t, cfg); err == nil || !strings.Contains(err.Error(), "is in none of the files of keys that verify") {
		t.Errorf("got %v", err)
	}
}

// validated is what gatehouse config validate does.
func validated(t *testing.T, cfg *config.Configuration) error {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		return err
	}
	return server.Check(t.Context(), cfg)
}

// listing returns the names, sizes and times of the files in dir.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Name()+" "+info.ModTime().Format(time.RFC3339Nano))
	}
	return out
}
