package gatehouse_test

import (
	"os"
	"testing"
)

const module = "gatehouse.dev/gatehouse"

// layers are the packages from the bottom up, by the path in the module. A
// name that ends in /... stands for everything below it; the longest name that
// fits counts. A package imports only what is in lower layers, its own parents,
// and what sideways lists.
var layers = []layer{
	{"words", []string{".", "api/v1alpha1", "identity", "internal/inplace", "internal/secret"}},
	{"files", []string{"internal/pki/weakkey", "internal/pki/wholefile"}},
	{"mechanism", []string{
		"internal/compact", "internal/config/strictyaml", "internal/etcd", "internal/etcd/...", "internal/externaljwt", "internal/fieldname", "internal/flight", "internal/jose", "internal/keyring",
		"internal/keyset", "internal/kubeconfig", "internal/listener", "internal/outcall", "internal/ocsp", "internal/passhash", "internal/pki", "internal/podrefs", "internal/reload", "internal/secretcsv", "internal/tarpit", "internal/turns",
		"internal/workload", "internal/workload/...",
	}},
	{"contracts", []string{"authn", "authz"}},
	{"decision", []string{
		"authn/...", "authz/...", "impersonation",
		"internal/admission", "internal/api/policy", "internal/audit", "internal/authorizers", "internal/connect/...",
		"internal/controller", "internal/controller/...", "internal/crl", "internal/delegation", "internal/explain", "internal/freshness", "internal/inspect", "internal/issuers", "internal/issuing", "internal/issuing/...", "internal/live", "internal/register", "internal/revocation", "internal/rotation",
		"internal/signing",
	}},
	{"surface", []string{
		"guard", "kubeauth",
		"internal/api", "internal/api/...", "internal/console", "internal/gateway", "internal/health", "internal/metrics", "internal/openid",
	}},
	{"assembly", []string{"internal/config", "internal/config/...", "internal/door", "internal/holding", "internal/joining", "internal/server", "internal/server/...", "internal/workload/runner"}},
	{"command", []string{"cmd/..."}},
	{"test", []string{"test/..."}},
}

// sideways are the imports inside a layer. Each line is a decision: the fewer,
// the better a package can be read alone.
var sideways = []edge{
	{"authn/clientcert", "authn/verified"},
	{"authn/frontproxy", "authn/clientcert"},
	{"internal/etcd/snapshot", "internal/etcd/epoch"},
	{"internal/keyring", "internal/jose"},
	{"internal/externaljwt", "internal/compact"},
	{"internal/externaljwt", "internal/flight"},
	{"internal/externaljwt", "internal/jose"},
	{"internal/keyring", "internal/reload"},
	{"internal/pki", "internal/reload"},
	{"internal/controller/clusterinfo", "authn/bootstrap"},
	{"internal/controller/csrapproving", "internal/signing"},
	{"internal/controller/csrsigning", "internal/signing"},
	{"internal/controller/tokencleaner", "authn/bootstrap"},
	{"internal/controller/revokedcertificates", "internal/crl"},
	{"authn/password", "authn/verified"},
	{"authn/serviceaccount", "authn/verified"},
	{"authn/statictoken", "authn/verified"},
	{"authn/webhook", "authn/verified"},
	{"authz/webhook", "authn/verified"},
	{"internal/admission", "authz/node"},
	{"internal/admission", "authz/rbac/escalation"},
	{"internal/authorizers", "authz/webhook"},
	{"internal/explain", "impersonation"},
	{"internal/issuers", "authn/jwt"},
	{"internal/keyset", "internal/turns"},
	{"internal/listener", "internal/turns"},
	{"internal/register", "authn/clientcert"},
	{"internal/revocation", "authn/clientcert"},
	{"internal/outcall", "internal/turns"},
	{"internal/tarpit", "internal/turns"},
	{"internal/api", "internal/api/..."},
	{"internal/api/credential", "internal/api/answer"},
	{"internal/api/explanation", "internal/api/answer"},
	{"internal/server", "internal/config"},
	{"internal/server", "internal/door"},
	{"internal/server/asking", "internal/door"},
	{"test/...", "test/..."},
}

// onlyIn names the packages that may import a module or a part of one, so that
// each dependency with weight has one place that knows it. The longest name
// that fits an import counts; none at all means that nobody may.
var onlyIn = map[string][]string{
	"go.etcd.io/etcd/server":                               {"internal/etcd", "internal/etcd/snapshot"},
	"go.etcd.io/etcd/etcdutl":                              {"internal/etcd"},
	"k8s.io/externaljwt":                                   {"internal/externaljwt"},
	"google.golang.org/grpc":                               {"internal/externaljwt"},
	"go.etcd.io/bbolt":                                     {"internal/etcd/snapshot"},
	"github.com/go-jose/go-jose":                           {"internal/jose"},
	"github.com/spf13/cobra":                               {"cmd/..."},
	"github.com/fsnotify/fsnotify":                         {"internal/reload"},
	"golang.org/x/crypto":                                  {"internal/passhash"},
	"golang.org/x/crypto/ocsp":                             {"internal/ocsp"},
	"go.yaml.in/yaml":                                      {"internal/config", "internal/config/..."},
	"k8s.io/apiserver/pkg/server":                          {"internal/api"},
	"k8s.io/apiserver/pkg/registry":                        {"internal/api"},
	"k8s.io/apiserver/pkg/storage":                         {"internal/api"},
	"k8s.io/apiserver/pkg/admission":                       {"internal/admission", "internal/api"},
	"k8s.io/apiserver/pkg/server/options/encryptionconfig": {"internal/api/atrest"},
	"k8s.io/apiserver/pkg/storage/value":                   {"internal/api", "internal/api/atrest"},
	// The typed clients link every API group; the project has its own.
	"k8s.io/client-go/kubernetes": {"test/clientgo", "test/incluster"},
	// Not a library: its authors promise nothing to importers.
	"k8s.io/kubernetes": {},
	"unsafe":            {"internal/inplace"},
}

// refused is what a package and all below it may not import, so that authn and
// authz stay usable in any Go API server.
var refused = map[string][]string{
	"authn": {"k8s.io/apiserver", "go.etcd.io", "github.com/go-jose/go-jose"},
	"authz": {"k8s.io/apiserver", "go.etcd.io", "github.com/go-jose/go-jose"},
}

// weakHashes are those that somebody who chooses what is hashed may find two
// texts for, or that nobody promises otherwise. What they find may be somebody
// else's credential, so no code may use them but that in placement.
var weakHashes = []string{
	"hash/adler32", "hash/crc32", "hash/crc64", "hash/fnv", "hash/maphash", "crypto/md5", "crypto/sha1",
	"github.com/cespare/xxhash", "github.com/cespare/xxhash/v2", "github.com/dchest/siphash", "github.com/twmb/murmur3", "github.com/zeebo/xxh3",
}

// placement names the files that use a weak hash to choose a place, and says
// why two texts of one hash do no harm there.
var placement = map[string]string{
	"authn/generation.go":          "objects that share a generation are only looked up once too often",
	"authz/rbac/atom.go":           "what is found in the table is compared with what was asked for",
	"internal/door/infos.go":       "the whole URL is compared",
	"internal/revocation/index.go": "what is found in the table is compared with what is judged",
	"internal/tarpit/due.go":       "keys that share all their counters wait for each other, at most for some seconds",
	"internal/tarpit/tarpit.go":    "peers that share a place wait for each other, at most for 2 s",
}

// vague are names that do not say what is in a package.
var vague = []string{"base", "common", "helper", "helpers", "lib", "misc", "shared", "stuff", "util", "utils"}

// Lengths in lines, with comments. The aim is 400 and 60; more than this is
// refused. A test may be a longer function, as it is mostly a table.
const (
	maxFile     = 600
	maxFunction = 100
)

// TestArchitecture holds the whole tree to the rules. The files are read here
// and not by a go command, so that the test cache knows when they change.
func TestArchitecture(t *testing.T) {
	tree, err := read(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) < 10 {
		t.Fatalf("found %d packages, so the tree was not read", len(tree))
	}
	for _, problem := range check(tree) {
		t.Error(problem)
	}
}
