package bootstrap_test

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	secretutil "k8s.io/cluster-bootstrap/util/secrets"
	tokenutil "k8s.io/cluster-bootstrap/util/tokens"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/internal/controller/clusterinfo"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
)

// What is generated is the same in each run, unless a seed is asked for.
var seed = flag.Uint64("seed", 1, "the seed of what is generated")

// rounds is how many tokens are generated.
func rounds() int {
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		return 1_000_000
	}
	return 100_000
}

// upstream answers as the authenticator of kube-apiserver does, which is in no
// library: the calls to the library in its order
// (plugin/pkg/auth/authenticator/token/bootstrap). Its every no is an empty
// answer.
func upstream(secrets map[string]*corev1.Secret, token string, now time.Time) (name string, groups []string) {
	id, value, err := tokenutil.ParseToken(token)
	if err != nil {
		return "", nil
	}
	s := secrets[bootstrapapi.BootstrapTokenSecretPrefix+id]
	if s == nil || s.DeletionTimestamp != nil || s.Type != bootstrapapi.SecretTypeBootstrapToken || s.Data == nil {
		return "", nil
	}
	if subtle.ConstantTimeCompare([]byte(secretutil.GetData(s, bootstrapapi.BootstrapTokenSecretKey)), []byte(value)) != 1 ||
		secretutil.GetData(s, bootstrapapi.BootstrapTokenIDKey) != id || secretutil.HasExpired(s, now) ||
		secretutil.GetData(s, bootstrapapi.BootstrapTokenUsageAuthentication) != "true" {
		return "", nil
	}
	groups, err = secretutil.GetGroups(s)
	if err != nil {
		return "", nil
	}
	return bootstrapapi.BootstrapUserPrefix + id, groups
}

// A store has the Secrets that both look at.
type store map[string]*corev1.Secret

func (s store) Cached(name string) *bootstrap.Secret {
	found := s[name]
	if found == nil {
		return nil
	}
	return &bootstrap.Secret{Type: string(found.Type), Deleted: found.DeletionTimestamp != nil, Data: found.Data}
}

func (s store) Live(_ context.Context, name string) (*bootstrap.Secret, error) {
	return s.Cached(name), nil
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// usually returns the first of from four times out of five, so that most parts
// of what is generated are good and the whole is bad for one reason at a time.
func usually(r *rand.Rand, from ...string) string {
	if r.IntN(5) > 0 {
		return from[0]
	}
	return pick(r, from...)
}

const value = "0123456789abcdef"

// generate returns the Secret of one token, good or bad.
func generate(r *rand.Rand, id string) *corev1.Secret {
	at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + id},
		Type:       corev1.SecretType(usually(r, "bootstrap.kubernetes.io/token", "Opaque", "bootstrap.kubernetes.io/Token", "")),
		Data: map[string][]byte{
			"token-id":     []byte(usually(r, id, "abcdeg", "ABCDEF", "", id+"\n")),
			"token-secret": []byte(usually(r, value, "0123456789abcdeg", "", value+"0", "hunter2", strings.ToUpper(value))),
			"expiration": []byte(usually(r, at(time.Hour), "", at(-time.Hour), at(0), "tomorrow", "2099-01-02", "2099-01-02T15:04:05Z",
				"2099-01-02T15:04:05.123+09:00", "2099-01-02t15:04:05z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", " "+at(time.Hour))),
			"usage-bootstrap-authentication": []byte(usually(r, "true", "True", "false", "", "true ", "1")),
			"usage-bootstrap-signing":        []byte(usually(r, "true", "TRUE", "no", "")),
			"auth-extra-groups":              []byte(groups(r)),
			"description":                    []byte("generated"),
		},
	}
	if r.IntN(40) == 0 {
		now := metav1.Now()
		s.DeletionTimestamp = &now
	}
	if r.IntN(40) == 0 {
		s.Data = nil
	}
	for key := range s.Data {
		if r.IntN(60) == 0 {
			delete(s.Data, key)
		}
	}
	return s
}

func groups(r *rand.Rand) string {
	names := make([]string, r.IntN(4))
	for i := range names {
		names[i] = usually(r, "system:bootstrappers:"+pick(r, "a", "b", "kubeadm:default-node-token", "-:-0"),
			"system:bootstrappers:", "system:bootstrappers", "system:masters", "", " system:bootstrappers:a", "system:bootstrappers:A",
			"system:bootstrappers:a\n", "system:bootstrappers:a-", "system:bootstrappers:é",
			"system:bootstrappers:"+strings.Repeat("x", 255+r.IntN(4)))
	}
	return strings.Join(names, ",")
}

// present returns a token that is about the Secret of id, or nearly.
func present(r *rand.Rand, id string) string {
	return usually(r, id+"."+value, id+".0123456789abcdeg", "zzzzzz."+value, id+value, id+"."+value+"0", id+"."+strings.ToUpper(value),
		strings.ToUpper(id)+"."+value, id+"."+value+"\n", id+"..", "", "a.b.c", id+"."+value[:15]+"é")
}

func TestTokens(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 0))
	var accepted int
	for range rounds() {
		id := pick(r, "abcdef", "000000", "zz99zz")
		s := generate(r, id)
		secrets := store{s.Name: s}
		v, err := bootstrap.New(bootstrap.Config{Secrets: secrets, Stripes: stripes})
		if err != nil {
			t.Fatal(err)
		}
		token := present(r, id)
		wantName, wantGroups := upstream(secrets, token, time.Now())
		var name string
		var groups []string
		res, err := v.VerifyToken(t.Context(), token, nil)
		if err == nil {
			accepted++
			name, groups = res.Identity.Name, slices.DeleteFunc(slices.Clone(res.Identity.Groups), func(g string) bool { return g == "system:authenticated" })
			if len(res.Identity.Extra) != 0 || res.Identity.UID != "" {
				t.Fatalf("%+v has what upstream does not give", res.Identity)
			}
		} else if _, refused := errors.AsType[*authn.Refusal](err); refused && (strings.Contains(err.Error(), value) || secrets["bootstrap-token-"+id] == nil) {
			t.Fatalf("a refusal of %q: %v", token, err)
		}
		if name != wantName || !slices.Equal(groups, wantGroups) {
			t.Fatalf("the token %q of %q: we say %q, %q (%v), upstream says %q, %q", token, s.Data, name, groups, err, wantName, wantGroups)
		}
	}
	if n := rounds(); accepted < n/100 || accepted > n*9/10 {
		t.Errorf("%d of %d were accepted: what is generated tests little", accepted, n)
	}
}

// stripes are large, so all verifiers share them.
var stripes = authn.NewStripes()

// signs reports whether the signer of kube-controller-manager would sign with a
// token, and which (pkg/controller/bootstrap/util.go): the same way to compose
// the library.
func signs(s *corev1.Secret, now time.Time) (id, secret string, ok bool) {
	name, ok := secretutil.ParseName(s.Name)
	id, secret = secretutil.GetData(s, bootstrapapi.BootstrapTokenIDKey), secretutil.GetData(s, bootstrapapi.BootstrapTokenSecretKey)
	ok = ok && s.Type == bootstrapapi.SecretTypeBootstrapToken && id != "" && id == name && secret != "" &&
		!secretutil.HasExpired(s, now) && secretutil.GetData(s, bootstrapapi.BootstrapTokenUsageSigningKey) == "true"
	return id, secret, ok
}

// TestClusterInfo lets the library verify what is in cluster-info, for Secrets
// of every kind at once.
func TestClusterInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(*seed, 1))
		secrets := controllertest.NewStore[*corev1.Secret]("secrets")
		maps := controllertest.NewStore[*corev1.ConfigMap]("configmaps")
		want := map[string]string{}
		for range 2000 {
			id := []byte("000000")
			for i := range id {
				id[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[r.IntN(36)]
			}
			s := generate(r, string(id))
			if _, err := secrets.Create(t.Context(), s); err != nil {
				continue // the ID is taken
			}
			tokenID, secret, ok := signs(s, time.Now())
			// What we refuse besides is in the page of differences.
			_, _, err := tokenutil.ParseToken(tokenID + "." + secret)
			if ok && err == nil && s.DeletionTimestamp == nil {
				want[tokenID] = secret
			}
		}
		c := &clusterinfo.Controller{
			Secrets: secrets.Informer(), ConfigMaps: maps.Informer(), Store: maps, Server: "https://api.example.org:6443",
			CA: func() []byte { return []byte("a CA") }, Log: slog.New(slog.DiscardHandler),
		}
		controllertest.Start(t, []cache.SharedIndexInformer{c.Secrets, c.ConfigMaps}, c.Run)
		cm, err := maps.Get(t.Context(), metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo)
		if err != nil {
			t.Fatal(err)
		}
		content := cm.Data[bootstrapapi.KubeConfigKey]
		for id, secret := range want {
			if !jws.DetachedTokenIsValid(cm.Data[bootstrapapi.JWSSignatureKeyPrefix+id], content, id, secret) {
				t.Errorf("the signature of %s is %q", id, cm.Data[bootstrapapi.JWSSignatureKeyPrefix+id])
			}
		}
		if len(cm.Data) != len(want)+1 || len(want) < 200 {
			t.Errorf("%d entries for %d tokens that sign", len(cm.Data), len(want))
		}
	})
}
