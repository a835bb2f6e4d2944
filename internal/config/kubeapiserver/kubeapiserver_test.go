package kubeapiserver_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/config/kubeapiserver"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/server"
	"gatehouse.dev/gatehouse/test/vectors"
)

// imported returns what comes of text.
func imported(t *testing.T, text string) *kubeapiserver.Result {
	t.Helper()
	c, err := kubeapiserver.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := kubeapiserver.Import(c, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// notes returns the lines of r.
func notes(t *testing.T, r *kubeapiserver.Result) string {
	t.Helper()
	var out strings.Builder
	if err := r.Tell(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The manifests of others make a configuration that a start accepts.
func TestRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/*.good.*")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := certificates(t)
			for _, folder := range []string{"/etc/kubernetes/pki", "/var/lib/minikube/certs", "/var/lib/rancher/k3s/server/tls"} {
				text = bytes.ReplaceAll(text, []byte(folder), []byte(dir))
			}
			r := imported(t, string(text))
			var yaml bytes.Buffer
			if err := r.WriteYAML(&yaml, file); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "gatehouse.yaml")
			if err := os.WriteFile(path, yaml.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := cfg.Validate(); err != nil {
				t.Error(err)
			}
			if err := server.Check(t.Context(), cfg); err != nil {
				t.Error(err)
			}
			if cfg.Authentication.ClientCAFile == "" || cfg.ServiceAccounts.SigningKeyFile == "" || !slices.Equal(cfg.Authorization.Modes, []string{"Node", "RBAC"}) {
				t.Errorf("not taken over: %+v", cfg)
			}
			if len(cfg.Storage.Etcd.Servers) > 0 || !strings.Contains(notes(t, r), "note: --etcd-servers") {
				t.Error("the store of the cluster is taken over")
			}
		})
	}
}

// certificates makes the files of all four.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"ca", "client-ca", "front-proxy-ca", "request-header-ca"} {
		if _, err := pki.OpenAuthority(dir, name, name); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := pki.OpenAuthority(dir, "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.OpenServing(ca, dir, "apiserver", []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(dir); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, keyring.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sa.key", "sa.pub"} {
		if err := os.WriteFile(filepath.Join(dir, name), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDecisions(t *testing.T) {
	const base = "kube-apiserver --service-account-issuer=https://a --authorization-mode=RBAC "
	for _, tt := range []struct {
		name, args string
		want       string // a part of the notes, or "" for none
		serious    bool
		setting    string // a line of the configuration
	}{
		{"nothing more", "", "", false, "dataDir: "},
		{"value of its own", "--secure-port 443", "", false, "securePort: 443"},
		{"underscores", "--secure_port=443", "", false, "securePort: 443"},
		{"short", "-v2", "", false, "verbosity: 2"},
		{"short with sign", "-v=2", "", false, "verbosity: 2"},
		{"truth", "--anonymous-auth=false", "", false, "anonymous: false"},
		{"old name", "--basic-auth-file=/x", "", false, "basicAuthFile: /x"},
		{"quoted", `--oidc-issuer-url="https://b" --oidc-client-id='a b'`, "", false, "clientID: a b"},
		{"twice", "--service-account-issuer=https://b", "", false, "- https://b"},
		{"default", "--profiling=true", "note: --profiling=true: says what kube-apiserver does by default", false, ""},
		{"not here", "--enable-aggregator-routing", "note: --enable-aggregator-routing=true: is left out: there are no extension", false, ""},
		{"unknown", "--no-such-thing=s3cret", "warning: --no-such-thing: is no flag of kube-apiserver 1.37", true, ""},
		{"ours, not theirs", "--quota-backend-bytes=1", "warning: --quota-backend-bytes: is no flag", true, ""},
		{"insecure", "--insecure-port=8080", "warning: --insecure-port=8080: is refused: plain HTTP", true, ""},
		{"no port", "--secure-port=0", "warning: --secure-port=0: is refused", true, "securePort: 6443"},
		{"lookup", "--service-account-lookup=false", "warning: --service-account-lookup=false: is refused", true, "lookup: true"},
		{"ABAC", "--authorization-mode=ABAC", "warning: --authorization-mode=RBAC,ABAC: ABAC is refused", true, "- RBAC"},
		{"ABAC's file", "--authorization-policy-file=/x", "warning: --authorization-policy-file=/x: is left out: ABAC", true, ""},
		{"everything beside RBAC", "--authorization-mode=AlwaysAllow", "AlwaysAllow beside other modes is refused", true, "- RBAC"},
		{"external signer", "--service-account-signing-endpoint=/x", "", false, "signingEndpoint: /x"},
		{"bad value", "--secure-port=many", "warning: --secure-port=many: cannot be read", true, ""},
		{"no value", "--secure-port", "warning: --secure-port: has no value", true, ""},
		{"stray", "--anonymous-auth false", `warning: "false": is no flag`, true, ""},
		{"without effect", "--audit-log-path=/x --audit-log-maxage=3", "note: --audit-log-path: is left out: nothing is recorded", false, `path: ""`},
		{"refused here", "--request-timeout=0", "warning: --request-timeout: is refused here", true, ""},
		{"password", "--etcd-servers=https://joe:hunter2@etcd", "note: --etcd-servers: is left out", false, ""},
		{"plugins", "--disable-admission-plugins=CertificateSigning,PodSecurity", "note: --disable-admission-plugins=PodSecurity: is left out", false, "- CertificateSigning"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := imported(t, base+tt.args)
			got := notes(t, r)
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || r.Serious() != tt.serious {
				t.Errorf("told %q, want %q, serious %v", got, tt.want, tt.serious)
			}
			var yaml bytes.Buffer
			if err := r.WriteYAML(&yaml, "-"); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(yaml.String(), tt.setting) {
				t.Errorf("no %q in the configuration", tt.setting)
			}
			if strings.Contains(yaml.String()+got, "hunter2") || strings.Contains(yaml.String()+got, "s3cret") {
				t.Error("a secret is told")
			}
		})
	}
}

// Without a mode kube-apiserver allows everything, and with that alone nobody
// is anonymous.
func TestModes(t *testing.T) {
	if r := imported(t, "kube-apiserver --service-account-issuer=a"); !r.Serious() || !slices.Equal(r.Config.Authorization.Modes, []string{"Node", "RBAC"}) {
		t.Errorf("no mode: %v", r.Config.Authorization.Modes)
	}
	r := imported(t, "kube-apiserver --service-account-issuer=a --anonymous-auth=true --authorization-mode=AlwaysAllow")
	if r.Config.Authentication.Anonymous || !slices.Equal(r.Config.Authorization.Modes, []string{"AlwaysAllow"}) || !strings.Contains(notes(t, r), "is false with AlwaysAllow") {
		t.Errorf("AlwaysAllow: anonymous %v, %v", r.Config.Authentication.Anonymous, r.Config.Authorization.Modes)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{
		"", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, command: [sleep]}]}\n", "echo hello", "kube-apiserver --a=\"b",
		"kube-apiserver --a=$HOME", "kube-apiserver `date`", `kube-apiserver \`, strings.Repeat("a", kubeapiserver.MaxFile+1),
		"kind: Pod\nspec: {containers: [{name: a, command: [sh, -c, 'kube-apiserver $X']}]}\n",
	} {
		if c, err := kubeapiserver.Read([]byte(text)); err == nil {
			t.Errorf("%.40q is read as %q", text, c.Args)
		}
	}
}

func TestRead(t *testing.T) {
	for text, want := range map[string][]string{
		"ExecStart=/usr/bin/kube-apiserver \\\n  --a=b \\\n  --c d\n": {"--a=b", "--c", "d"},
		"--a=b": {"--a=b"},
		"kind: Pod\nspec: {containers: [{name: x, command: [sleep]}, {name: y, command: [sh, -c, 'exec kube-apiserver --a=\"b c\"']}]}\n": {"--a=b c"},
		"kind: Pod\nspec: {containers: [{name: kube-apiserver, args: ['--a=$(N)'], env: [{name: N, value: v}]}]}\n":                       {"--a=v"},
		"kind: Deployment\nspec: {template: {spec: {containers: [{name: y, command: [kube-apiserver, --a]}]}}}\n":                         {"--a"},
		"kind: ConfigMap\n---\nkind: Pod\nspec: {containers: [{name: y, command: [/hyperkube/kube-apiserver, --a]}]}\n":                   {"--a"},
	} {
		c, err := kubeapiserver.Read([]byte(text))
		if err != nil || !slices.Equal(c.Args, want) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

// Every flag that the published library of kube-apiserver has is known, with its
// default.
func TestTable(t *testing.T) {
	set := pflag.NewFlagSet("upstream", pflag.ContinueOnError)
	options.NewSecureServingOptions().WithLoopback().AddFlags(set)
	options.NewAuditOptions().AddFlags(set)
	options.NewFeatureOptions().AddFlags(set)
	options.NewEtcdOptions(storagebackend.NewDefaultConfig("/registry", nil)).AddFlags(set)
	options.NewServerRunOptions().AddUniversalFlags(set)
	n := 0
	set.VisitAll(func(f *pflag.Flag) {
		n++
		r := imported(t, "kube-apiserver --"+f.Name+"=x")
		if strings.Contains(notes(t, r), "--"+f.Name+": is no flag of kube-apiserver") {
			t.Errorf("--%s is not known", f.Name)
		}
	})
	if n < 60 {
		t.Errorf("only %d flags of upstream's were looked at", n)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.good.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("kube-apiserver --a='b' -v2 $"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := kubeapiserver.Read(text)
		if err != nil {
			return
		}
		r, err := kubeapiserver.Import(c, "/data")
		if err != nil {
			t.Fatal(err)
		}
		var yaml bytes.Buffer
		if err := r.WriteYAML(&yaml, "x\ny"); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, yaml.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Read(path); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

// Every text of the JSON test suite where a manifest has something else. It may
// be anything of YAML, which is more than JSON, and says nothing of the command.
func TestManifestsReadJSON(t *testing.T) {
	const manifest = `{"kind":"Pod","metadata":{"annotations":%},"spec":{"containers":[{"name":"kube-apiserver","command":["kube-apiserver","--etcd-servers=https://a"]}]}}`
	read := 0
	for name, text := range vectors.JSON(t).Parsing {
		c, err := kubeapiserver.Read([]byte(strings.Replace(manifest, "%", string(text), 1)))
		if err == nil && (len(c.Args) != 1 || c.Args[0] != "--etcd-servers=https://a") {
			t.Errorf("%s: %.100q gives the command %q", name, text, c.Args)
		}
		if err == nil {
			read++
		}
	}
	if read < 80 {
		t.Errorf("%d manifests were read", read)
	}
}
