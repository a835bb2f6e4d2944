package config_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/config"
)

// problems reads and validates a file, and returns what is wrong with it, a
// line for each problem.
func problems(path string) string {
	c, err := config.Read(path)
	if err == nil {
		err = c.Validate()
	}
	var lines []string
	for _, p := range config.Problems(err) {
		lines = append(lines, p.Error())
	}
	if err != nil && len(lines) == 0 {
		return "not a problem: " + err.Error()
	}
	return strings.Join(lines, "\n")
}

func files(t testing.TB, pattern string) []string {
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files for %s: %v", pattern, err)
	}
	return paths
}

func TestGoodFiles(t *testing.T) {
	for _, path := range files(t, "*.good.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if got := problems(path); got != "" {
				t.Fatalf("refused:\n%s", got)
			}
			c, err := config.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			readBack(t, c, c.WriteYAML)
			readBack(t, c, c.WriteJSON)
		})
	}
}

// readBack checks that what write writes is read as c.
func readBack(t *testing.T, c *config.Configuration, write func(io.Writer) error) {
	t.Helper()
	var listed bytes.Buffer
	if err := write(&listed); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "listed.yaml")
	if err := os.WriteFile(path, listed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := config.Read(path)
	if err != nil {
		t.Fatalf("what was written is refused: %v\n%s", err, listed.Bytes())
	}
	// Paths that were relative have become so to another folder.
	got := strings.ReplaceAll(asJSON(t, again), filepath.Dir(path)+"/", "")
	if want := asJSON(t, c); got != want {
		t.Errorf("read back as\n%s\nwant\n%s", got, want)
	}
}

func asJSON(t *testing.T, c *config.Configuration) string {
	t.Helper()
	var out bytes.Buffer
	if err := c.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// badFiles has for each file the whole of what is said about it, line by line,
// without the path of the file.
var badFiles = map[string][]string{
	"empty":   {": is empty; write at least its apiVersion and kind"},
	"comment": {": is empty; write at least its apiVersion and kind"},
	"list":    {":1: is a list, not a group of fields; write at least its apiVersion and kind"},
	"syntax":  {": is not YAML: line 1: did not find expected node content; correct it"},
	"pod": {
		`:1: apiVersion: "v1" is not known; write apiVersion: gatehouse.dev/v1alpha1`,
		`:1: kind: "Pod" is not known; write kind: GatehouseConfiguration`,
	},
	"headless": {
		":1: apiVersion: is missing; write apiVersion: gatehouse.dev/v1alpha1",
		":1: kind: is missing; write kind: GatehouseConfiguration",
	},
	"version":        {`:1: apiVersion: "gatehouse.dev/v1beta1" is not known; write apiVersion: gatehouse.dev/v1alpha1`},
	"twodocuments":   {":3: begins a second document; keep one document in a file"},
	"unknown":        {":3: colour: there is no such field; remove it; the fields here are apiVersion, kind, serving, storage, authentication, serviceAccounts, certificates, authorization, audit, admission, limits, logging"},
	"misspelt":       {":4: serving.securePrt: there is no such field; did you mean securePort?"},
	"case":           {":4: serving.SecurePort: there is no such field; did you mean securePort?"},
	"flagname":       {":4: serving.data-dir: there is no such field; did you mean storage.dataDir?"},
	"wronggroup":     {":4: serving.dataDir: there is no such field; did you mean storage.dataDir?"},
	"duplicate":      {":5: serving.securePort: is given twice; keep one of them"},
	"duplicategroup": {":4: serving: is given twice; keep one of them"},
	"alias":          {":4: storage.dataDir: is an alias; write the value itself"},
	"merge":          {":4: limits: has a key that is not the name of a field; write each field out"},
	"keys":           {":4: serving: has a key that is not the name of a field; write each field out"},
	"fraction":       {":3: serving.securePort: is a number; write a whole number"},
	"quoted":         {":3: serving.securePort: is a string; write a whole number"},
	"huge":           {":3: serving.securePort: is a number; write a whole number"},
	"yes":            {":3: authentication.anonymous: is a string; write true or false"},
	"numberduration": {`:3: limits.requestTimeout: is a number; write it like 1m0s`},
	"duration":       {`:3: limits.requestTimeout: "1 minute" cannot be read, or is too big; write it like 1m0s`},
	"address":        {`:3: serving.bindAddress: "localhost" cannot be read, or is too big; write it like 0.0.0.0`},
	"bareversion":    {":3: serving.tlsMinVersion: is a number; put it in quotes"},
	"scalarlist":     {":3: serviceAccounts.issuers: is a string, not a list; write each value in a line of its own, after a dash"},
	"nullentry":      {":3: serviceAccounts.issuers[0]: is empty; remove it, or give it a value"},
	"mapscalar":      {":3: storage.dataDir: is a group of fields; write a single value"},
	"scalargroup":    {":3: serving: is a number, not a group of fields; write its fields below it, indented"},
	"sni":            {":3: serving.tlsSNICertKeys[0].key: there is no such field; remove it; the fields here are certFile, keyFile, names"},
	"webhookclients": {
		":7: authentication.webhookClients: entry 1 has no user; give the name in its client certificate, such as gatehouse:webhook:prod",
		":7: authentication.webhookClients: entry 2 has no audience, or an empty one; name its --api-audiences, or what it has instead, its --service-account-issuer",
		`:7: authentication.webhookClients: entry 3 is for "gatehouse:webhook:stage", as an earlier one is; make one entry of them`,
		":7: authentication.webhookClients: entry 3 has no audience, or an empty one; name its --api-audiences, or what it has instead, its --service-account-issuer",
		unknownSource("X509"), unknownSource("Password"), unknownSource("https://"), unknownSource("http://issuer.example.org"), unknownSource(""),
	},
	"signers": {
		`:8: certificates.certFile: is given without certificates.keyFile (--cluster-signing-key-file); set both, or neither`,
		`:6: certificates.duration: 9m0s is less than what a request may ask for; choose at least 10m0s`,
		`:7: certificates.clientRenewableFor: 1m0s is less than certificates.duration (--cluster-signing-duration), for which each certificate lives; choose more, or 0s`,
		`:10: certificates.signers: entry 1 (workload): name: Invalid value: "workload": must be a fully qualified domain and path of the form 'example.com/signer-name'; name it as example.com/workload`,
		`:10: certificates.signers: entry 1 (workload): commonNames: "${who}": knows no ${who}: the places are username, uid, group, serviceaccount.namespace, serviceaccount.name, node; correct it; docs/certificates.md has an example`,
		`:10: certificates.signers: entry 2 (kubernetes.io/mine): name: the domain is Kubernetes'; choose a domain of your own`,
		`:10: certificates.signers: entry 2 (kubernetes.io/mine): usages: "flying": unrecognized usage values: ["flying"]; correct it; docs/certificates.md has an example`,
		`:10: certificates.signers: entry 2 (kubernetes.io/mine): duration: 1m0s is less than what a request may ask for; choose at least 10m0s`,
		`:10: certificates.signers: entry 2 (kubernetes.io/mine): renewableFor: 1s is less than the duration, for which each certificate lives; choose more, or leave it out`,
		`:10: certificates.signers: entry 2 (kubernetes.io/mine): certFile and keyFile: one is given without the other; set both, or neither`,
		`:8: certificates.certFile: testdata/ca.crt: no such file or directory; correct the path, or its permissions`,
		`:10: certificates.signers: testdata/ca.crt: no such file or directory; correct the path, or its permissions`,
	},
	"several": {
		":5: serving.bindAdress: there is no such field; did you mean bindAddress?",
		`:7: limits.requestTimeout: "soon" cannot be read, or is too big; write it like 1m0s`,
	},
	"everything": {
		":4: serving.securePort: 0 is not a port; choose one from 1 to 65535; it cannot be switched off",
		":5: serving.tlsCertFile: is given without serving.tlsPrivateKeyFile (--tls-private-key-file); set both, or neither",
		`:6: serving.tlsMinVersion: "TLS1.2" is not known; choose one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13`,
		": authentication.clientCAFile (--client-ca-file): is needed with storage.etcd.servers (--etcd-servers); name a file that is the same on every server of the cluster",
		": storage.encryptionProviderConfigFile (--encryption-provider-config): is needed with storage.etcd.servers (--etcd-servers); name a file that is the same on every server of the cluster",
		": serviceAccounts.issuers (--service-account-issuer): is not set; set it to the URL under which clients reach this server",
		":9: authorization.modes: AlwaysAllow together with authentication.anonymous (--anonymous-auth) lets everybody do everything; set --anonymous-auth=false, or choose RBAC",
	},
}

func TestBadFiles(t *testing.T) {
	paths := files(t, "*.bad.yaml")
	if len(paths) != len(badFiles) {
		t.Errorf("%d files, and %d of them expected", len(paths), len(badFiles))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			want, ok := badFiles[name]
			if !ok {
				t.Fatal("nothing is expected of the file")
			}
			got := strings.Split(problems(path), "\n")
			for i := range max(len(got), len(want)) {
				switch {
				case i >= len(got):
					t.Errorf("not refused: %s", want[i])
				case i >= len(want):
					t.Errorf("also refused: %s", got[i])
				case got[i] != path+want[i]:
					t.Errorf("refused as\n\t%s\nwant\n\t%s", got[i], path+want[i])
				}
			}
		})
	}
}

func TestBigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(path, bytes.Repeat([]byte("#\n"), 1<<19+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := problems(path), path+": is bigger than 1 MiB; name a configuration file"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMissingFile(t *testing.T) {
	want := "missing.yaml: cannot be read: no such file or directory; name a configuration file that this user may read"
	if got := problems("missing.yaml"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func unknownSource(name string) string {
	return fmt.Sprintf(":7: authentication.webhookClients: entry 3 names the source %q, which is not known; choose from "+
		"StaticToken, BootstrapToken, ServiceAccount, LegacyServiceAccount, JWT, Webhook, or name an issuer by its https URL", name)
}
