package issuing_test

import (
	"context"
	"testing"
	"time"

	oracle "github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/keyring"
)

// of returns a lookup among objects, by namespace and name.
func of[T any](resource string, objects map[string]*T) issuing.Get[T] {
	return func(_ context.Context, namespace, name string) (*T, error) {
		if object, ok := objects[namespace+"/"+name]; ok {
			return object, nil
		}
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
	}
}

func meta(namespace, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}
}

func pod(name, account, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: meta("ns", name, "pod-uid"),
		Spec:       corev1.PodSpec{ServiceAccountName: account, NodeName: node},
	}
}

// world returns objects to issue tokens for, and tokens signed with the keys of
// the ring.
func world(t testing.TB) (*issuing.Tokens, *keyring.Ring) {
	t.Helper()
	ring, err := keyring.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &issuing.Tokens{
		Issuer:    "https://issuer",
		Audiences: []string{"api", "https://issuer"},
		Signer:    signing{ring},
		Objects: issuing.Objects{
			ServiceAccounts: of("serviceaccounts", map[string]*corev1.ServiceAccount{
				"ns/sa": {ObjectMeta: meta("ns", "sa", "sa-uid")},
			}),
			Pods: of("pods", map[string]*corev1.Pod{
				"ns/pod":      pod("pod", "sa", "node"),
				"ns/pending":  pod("pending", "sa", ""),
				"ns/orphan":   pod("orphan", "sa", "gone"),
				"ns/other":    pod("other", "another", "node"),
				"else/theirs": pod("theirs", "sa", "node"),
			}),
			Secrets: of("secrets", map[string]*corev1.Secret{
				"ns/secret": {ObjectMeta: meta("ns", "secret", "secret-uid")},
			}),
			Nodes: of("nodes", map[string]*corev1.Node{
				"/node": {ObjectMeta: meta("", "node", "node-uid")},
			}),
		},
	}, ring
}

func request(change ...func(*authenticationv1.TokenRequest)) *authenticationv1.TokenRequest {
	r := new(authenticationv1.TokenRequest)
	for _, c := range change {
		c(r)
	}
	return r
}

func seconds(n int64) func(*authenticationv1.TokenRequest) {
	return func(r *authenticationv1.TokenRequest) { r.Spec.ExpirationSeconds = &n }
}

func audiences(all ...string) func(*authenticationv1.TokenRequest) {
	return func(r *authenticationv1.TokenRequest) { r.Spec.Audiences = all }
}

func bound(version, kind, name, uid string) func(*authenticationv1.TokenRequest) {
	return func(r *authenticationv1.TokenRequest) {
		r.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: version, Kind: kind, Name: name, UID: types.UID(uid)}
	}
}

// payload returns the claims of token, after a library of others has verified
// it.
func payload(t *testing.T, ring *keyring.Ring, token string) string {
	t.Helper()
	parsed, err := oracle.ParseSignedCompact(token, []oracle.SignatureAlgorithm{oracle.ES256})
	if err != nil {
		t.Fatal(err)
	}
	keys := ring.Find(parsed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		t.Fatalf("%d keys of the kid", len(keys))
	}
	data, err := parsed.Verify(keys[0].Public)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// signing is a ring that does not mind how long a token lives.
type signing struct{ *keyring.Ring }

func (s signing) Sign(_ context.Context, claims any, _ time.Time) (string, error) {
	return s.Ring.Sign(claims)
}
