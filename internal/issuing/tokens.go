// Package issuing decides which credentials are made, and what is in them:
// tokens of service accounts, asked for by a TokenRequest or kept in a Secret,
// and the client certificates of administrators.
//
// It decides as kube-apiserver v1.37 does
// (pkg/registry/core/serviceaccount/storage/token.go), with the same messages,
// and does no I/O: [Objects] and a [Signer] are handed to it. All its refusals
// are metav1.Status errors that an API server can return as they are.
//
// A token says only what was looked up, never what the caller claimed: a
// request names its account and the object its token is bound to, and the UIDs
// in the token are those of the live objects.
package issuing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// IssuedCredentialIDKey is the key of the audit annotation that has the ID of a
// token that was issued.
const IssuedCredentialIDKey = "authentication.kubernetes.io/issued-credential-id"

const (
	defaultSeconds = 60 * 60
	minSeconds     = 10 * 60
	maxSeconds     = math.MaxUint32 + 1
	// projectedSeconds is what the service account admission plugin puts into
	// the pods it changes, an hour and a mark. A token with it belongs to an
	// application that was not written for tokens that end, so it may live for
	// extendedSeconds (KEP-1205, "safe rollout of time-bound token").
	projectedSeconds = 60*60 + 7
	extendedSeconds  = 365 * 24 * 60 * 60
)

// A Get returns a live object. It returns a NotFound status error if there is
// none. The namespace is empty for what has none.
type Get[T any] func(ctx context.Context, namespace, name string) (*T, error)

// Objects are where the objects that tokens speak of are looked up. The answers
// must be fresh: a token bound to an object that is gone would be a waste, one
// for an account that is gone, a lie.
type Objects struct {
	ServiceAccounts Get[corev1.ServiceAccount]
	Pods            Get[corev1.Pod]
	Secrets         Get[corev1.Secret]
	Nodes           Get[corev1.Node]
}

// A Signer signs claims as a compact token. Expires is when the token ends, zero
// if it never does: who replaces keys has to know.
type Signer interface {
	Sign(ctx context.Context, claims any, expires time.Time) (string, error)
}

// Tokens issues the tokens of service accounts. Its fields must not be changed
// while it is in use; it is safe for concurrent use if they are.
type Tokens struct {
	// Issuer is the iss of the tokens, the first --service-account-issuer.
	Issuer string
	// Audiences are those of the API server. They are for requests that name
	// none.
	Audiences []string
	// MaxLifetime cuts longer requests (--service-account-max-token-expiration),
	// to the second. Zero leaves them.
	MaxLifetime time.Duration
	// ExtendLifetime lets tokens that pods got without asking live for a year
	// (--service-account-extend-token-expiration).
	ExtendLifetime bool
	// MaxExtended cuts that year, if the signer does not sign for so long. Zero
	// leaves it.
	MaxExtended time.Duration

	Objects Objects
	Signer  Signer
	// Record, which may be nil, writes down a token before it is signed, and is
	// done when that is durable. If it fails, with a status error, there is no
	// token.
	Record func(ctx context.Context, token *Recorded) error
}

// Recorded is what is written down of a token.
type Recorded struct {
	JTI    string
	Issuer string
	// User is whom the token stands for, and UID that of the account.
	User, UID string
	Audiences []string
	// Bound is the object that the token ends with, or nil if that is the account.
	Bound           *Bound
	Issued, Expires time.Time
}

// Bound is an object that a token is bound to.
type Bound struct{ Kind, Namespace, Name, UID string }

// An Issued is the answer to a TokenRequest.
type Issued struct {
	// Request is a copy of the one that was asked, with its defaults and its
	// status filled in. The status holds the token.
	Request *authenticationv1.TokenRequest
	// JTI names the token, and Expires is when it ends, which may be later than
	// the status says. Revocation needs both.
	JTI     string
	Expires time.Time
	// Warnings belong into the Warning headers of the answer, and Annotations
	// into the audit event of the request, which must be written before the
	// answer leaves.
	Warnings    []string
	Annotations map[string]string
}

// An Admit refuses a request that is valid, or lets it pass. It must not change
// it.
type Admit func(ctx context.Context, request *authenticationv1.TokenRequest) error

// Issue answers request for a token of the service account called name. It does
// not change request. admit is asked once defaults are set and the request is
// valid, as the admission plugins of Kubernetes are, and may be nil. All errors
// are, or wrap, status errors.
func (t *Tokens) Issue(ctx context.Context, namespace, name string, request *authenticationv1.TokenRequest, admit Admit) (*Issued, error) {
	if err := matchName(namespace, name, request); err != nil {
		return nil, err
	}
	account, err := get(ctx, t.Objects.ServiceAccounts, namespace, name)
	if err != nil {
		return nil, err
	}
	if request.UID != "" && request.UID != account.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: authenticationv1.GroupName, Resource: "TokenRequest"}, name,
			fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", request.UID, account.UID))
	}
	// A token tells whole seconds, and so do the times in an answer.
	now := time.Now().Truncate(time.Second)
	request = t.complete(request, account, now)
	if err := validate(request); err != nil {
		return nil, err
	}
	if admit != nil {
		if err := admit(ctx, request.DeepCopy()); err != nil {
			return nil, statusError(err)
		}
	}
	bound, err := t.bind(ctx, account, request.Spec.BoundObjectRef)
	if err != nil {
		return nil, err
	}
	return t.issue(ctx, request, account, bound, now)
}

// complete returns a copy of request with defaults for what it leaves open, and
// without a status.
func (t *Tokens) complete(request *authenticationv1.TokenRequest, account *corev1.ServiceAccount, now time.Time) *authenticationv1.TokenRequest {
	request = request.DeepCopy()
	request.Name, request.Namespace, request.UID = account.Name, account.Namespace, account.UID
	request.CreationTimestamp = metav1.NewTime(now)
	request.Status = authenticationv1.TokenRequestStatus{}
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences = append([]string(nil), t.Audiences...)
	}
	if request.Spec.ExpirationSeconds == nil {
		request.Spec.ExpirationSeconds = new(int64(defaultSeconds))
	}
	return request
}

// issue signs the token that request, which is complete and valid, asks for.
func (t *Tokens) issue(ctx context.Context, request *authenticationv1.TokenRequest, account *corev1.ServiceAccount, bound binding, now time.Time) (*Issued, error) {
	issued := &Issued{Request: request, JTI: uuid.NewString()}
	seconds := request.Spec.ExpirationSeconds
	if most := int64(t.MaxLifetime / time.Second); most > 0 && *seconds > most {
		issued.Warnings = append(issued.Warnings,
			fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", *seconds, most))
		*seconds = most
	}
	shown := now.Add(time.Duration(*seconds) * time.Second)
	issued.Expires = shown
	claims := boundClaims{
		Issuer:    t.Issuer,
		Subject:   subject(account),
		Audience:  request.Spec.Audiences,
		IssuedAt:  now.Unix(),
		NotBefore: now.Unix(),
		ID:        issued.JTI,
		Kubernetes: kubernetesClaims{
			Namespace:      account.Namespace,
			ServiceAccount: reference{Name: account.Name, UID: account.UID},
			binding:        bound,
		},
	}
	if t.ExtendLifetime && bound.Pod != nil && *seconds == projectedSeconds &&
		sets.New(t.Audiences...).HasAll(request.Spec.Audiences...) {
		issued.Expires = now.Add(t.extended())
		claims.Kubernetes.WarnAfter = shown.Unix()
	}
	claims.Expires = issued.Expires.Unix()
	if err := t.record(ctx, account, &claims, now, issued.Expires); err != nil {
		return nil, statusError(err)
	}
	token, err := t.Signer.Sign(ctx, claims, issued.Expires)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	request.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(shown)}
	issued.Annotations = map[string]string{IssuedCredentialIDKey: "JTI=" + issued.JTI}
	return issued, nil
}

// record writes down the token that is about to be signed.
func (t *Tokens) record(ctx context.Context, account *corev1.ServiceAccount, claims *boundClaims, now, expires time.Time) error {
	if t.Record == nil {
		return nil
	}
	return t.Record(ctx, &Recorded{
		JTI: claims.ID, Issuer: claims.Issuer, User: claims.Subject, UID: string(account.UID),
		Audiences: claims.Audience, Bound: claims.Kubernetes.bound(account.Namespace), Issued: now, Expires: expires,
	})
}

// extended is how long a token lives that is extended.
func (t *Tokens) extended() time.Duration {
	if t.MaxExtended > 0 {
		return min(t.MaxExtended, extendedSeconds*time.Second)
	}
	return extendedSeconds * time.Second
}

// get is lookup, with errors that are all status errors.
func get[T any](ctx context.Context, lookup Get[T], namespace, name string) (*T, error) {
	object, err := lookup(ctx, namespace, name)
	if err != nil {
		return nil, statusError(err)
	}
	return object, nil
}

// statusError returns err if it is a status error, and an internal one if not.
func statusError(err error) error {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return err
	}
	return apierrors.NewInternalError(err)
}
