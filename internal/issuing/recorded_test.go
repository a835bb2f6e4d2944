package issuing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/internal/issuing"
)

// order notes what happens in which order.
type order struct {
	signer issuing.Signer
	done   []string
}

func (o *order) Sign(ctx context.Context, claims any, expires time.Time) (string, error) {
	o.done = append(o.done, "sign")
	return o.signer.Sign(ctx, claims, expires)
}

func TestRecordedBeforeSigned(t *testing.T) {
	for _, tt := range []struct {
		name  string
		asked *authenticationv1.TokenRequest
		bound *issuing.Bound
	}{
		{"account", request(), nil},
		{"pod", request(bound("v1", "Pod", "pod", "")), &issuing.Bound{Kind: "Pod", Namespace: "ns", Name: "pod", UID: "pod-uid"}},
		{"secret", request(bound("v1", "Secret", "secret", "")), &issuing.Bound{Kind: "Secret", Namespace: "ns", Name: "secret", UID: "secret-uid"}},
		{"node", request(bound("v1", "Node", "node", "")), &issuing.Bound{Kind: "Node", Name: "node", UID: "node-uid"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens, ring := world(t)
			o := &order{signer: signing{ring}}
			tokens.Signer = o
			var got *issuing.Recorded
			tokens.Record = func(_ context.Context, r *issuing.Recorded) error {
				o.done = append(o.done, "record")
				got = r
				return nil
			}
			issued, err := tokens.Issue(t.Context(), "ns", "sa", tt.asked, nil)
			if err != nil || !slices.Equal(o.done, []string{"record", "sign"}) {
				t.Fatalf("%q, %v", o.done, err)
			}
			if got.JTI != issued.JTI || got.User != "system:serviceaccount:ns:sa" || got.UID != "sa-uid" || got.Issuer != "https://issuer" ||
				!slices.Equal(got.Audiences, tokens.Audiences) || !got.Expires.Equal(issued.Expires) || time.Since(got.Issued) > time.Minute {
				t.Errorf("recorded %+v, issued %+v", got, issued)
			}
			if (got.Bound == nil) != (tt.bound == nil) || got.Bound != nil && *got.Bound != *tt.bound {
				t.Errorf("bound to %+v, want %+v", got.Bound, tt.bound)
			}
		})
	}
}

// The year that a token of an old application gets is what is recorded, not the
// hour that its holder is told.
func TestRecordedUntilTheVeryEnd(t *testing.T) {
	tokens, _ := world(t)
	tokens.ExtendLifetime = true
	var got *issuing.Recorded
	tokens.Record = func(_ context.Context, r *issuing.Recorded) error { got = r; return nil }
	if _, err := tokens.Issue(t.Context(), "ns", "sa", request(bound("v1", "Pod", "pod", ""), seconds(3607)), nil); err != nil {
		t.Fatal(err)
	}
	if lives := got.Expires.Sub(got.Issued); lives != 365*24*time.Hour {
		t.Errorf("recorded for %v", lives)
	}
}

func TestNothingIsSignedThatIsNotRecorded(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int32
		say  string
	}{
		{apierrors.NewServiceUnavailable("no room"), 503, "no room"},
		{errors.New("broken"), 500, "Internal error occurred: broken"},
	} {
		tokens, ring := world(t)
		o := &order{signer: signing{ring}}
		tokens.Signer = o
		tokens.Record = func(context.Context, *issuing.Recorded) error { return tt.err }
		issued, err := tokens.Issue(t.Context(), "ns", "sa", request(), nil)
		if issued != nil || len(o.done) > 0 {
			t.Errorf("%v: there is a token: %q", tt.err, o.done)
		}
		if status := apierrors.APIStatus(nil); !errors.As(err, &status) || status.Status().Code != tt.code || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("answered with %v", err)
		}
	}
	// What is refused anyhow is not recorded.
	tokens, _ := world(t)
	tokens.Record = func(context.Context, *issuing.Recorded) error {
		t.Error("recorded what is refused")
		return nil
	}
	for _, asked := range []*authenticationv1.TokenRequest{request(seconds(1)), request(bound("v1", "Pod", "none", "")), request(bound("v1", "Pod", "pod", "x"))} {
		if _, err := tokens.Issue(t.Context(), "ns", "sa", asked, nil); err == nil {
			t.Error("issued")
		}
	}
}
