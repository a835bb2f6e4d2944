package csrapproving_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/csrapproving"
	"gatehouse.dev/gatehouse/internal/signing"
)

const (
	own     = "example.com/workload"
	another = "example.com/other"
)

type authorizerFunc func(context.Context, *authz.Attributes) (authz.Answer, error)

func (f authorizerFunc) Authorize(ctx context.Context, a *authz.Attributes) (authz.Answer, error) {
	return f(ctx, a)
}

// verdict runs a controller over one request, and returns the reason of its
// approval and the request.
func verdict(t *testing.T, r *signingRequest, recognizers ...csrapproving.Recognizer) (string, *signingRequest) {
	t.Helper()
	store := controllertest.NewStore[*signingRequest]("certificatesigningrequests")
	if _, err := store.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c := &csrapproving.Controller{Requests: store.Informer(), Approval: store, Recognizers: recognizers, Log: controllertest.Log(t)}
	controllertest.Start(t, []cache.SharedIndexInformer{c.Requests}, c.Run)
	got, err := store.Get(t.Context(), "", r.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range got.Status.Conditions {
		if condition.Type == certificatesv1.CertificateApproved {
			return condition.Reason, got
		}
	}
	return "", got
}

// asked returns a request to the signer of one's own, sent with a certificate.
func asked(t *testing.T, user, commonName, presented string) *signingRequest {
	r := request(t, "r", user, commonName)
	r.Spec.SignerName = own
	if presented != "" {
		r.Spec.Extra[signing.PresentedKey] = certificatesv1.ExtraValue{presented}
	}
	return r
}

// Who holds a certificate may renew it, and nobody else, and not for ever.
func TestRenewals(t *testing.T) {
	const total = 48 * time.Hour
	for _, tt := range []struct {
		name   string
		change func(r *signingRequest, held *csrapproving.Held)
		issued error
		judge  error
		after  time.Duration // since the first approval
		want   string
	}{
		{"the holder", nil, nil, nil, time.Hour, "Renewed"},
		{"the holder, at the last moment", nil, nil, nil, total - 10*time.Minute, "Renewed"},
		{"after the total lifetime", nil, nil, nil, total - 10*time.Minute + time.Second, ""},
		{"long after the total lifetime", nil, nil, nil, 10 * total, ""},
		{"sent without a certificate", func(r *signingRequest, _ *csrapproving.Held) { delete(r.Spec.Extra, signing.PresentedKey) }, nil, nil, time.Hour, ""},
		{"sent with a certificate that is not known", func(r *signingRequest, _ *csrapproving.Held) {
			r.Spec.Extra[signing.PresentedKey] = certificatesv1.ExtraValue{"other"}
		}, nil, nil, time.Hour, ""},
		{"sent with two", func(r *signingRequest, _ *csrapproving.Held) {
			r.Spec.Extra[signing.PresentedKey] = certificatesv1.ExtraValue{"mine", "mine"}
		}, nil, nil, time.Hour, ""},
		{"a certificate of another signer", func(_ *signingRequest, h *csrapproving.Held) { h.Signer = another }, nil, nil, time.Hour, ""},
		{"to a signer that does not renew", func(r *signingRequest, h *csrapproving.Held) { r.Spec.SignerName, h.Signer = another, another }, nil, nil, time.Hour, ""},
		{"for another subject", func(_ *signingRequest, h *csrapproving.Held) { h.Holder = "another" }, nil, nil, time.Hour, ""},
		{"for more usages", func(r *signingRequest, _ *csrapproving.Held) {
			r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageServerAuth)
		}, nil, nil, time.Hour, ""},
		{"as another user", func(r *signingRequest, _ *csrapproving.Held) { r.Spec.Username = "root" }, nil, nil, time.Hour, ""},
		{"when it has expired", func(_ *signingRequest, h *csrapproving.Held) { h.Expires = time.Now() }, nil, nil, time.Hour, ""},
		{"first issued in the future", func(_ *signingRequest, h *csrapproving.Held) { h.First = time.Now().Add(time.Hour) }, nil, nil, time.Hour, ""},
		{"when it was taken back", nil, nil, errors.New("revoked"), time.Hour, ""},
		{"when the register is away", nil, errors.New("away"), nil, time.Hour, ""},
		{"denied", func(r *signingRequest, _ *csrapproving.Held) {
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: "True"}}
		}, nil, nil, time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := time.Now().Truncate(time.Second)
				time.Sleep(tt.after)
				r := asked(t, "jane", "jane", "mine")
				parsed, err := signing.Read(r)
				if err != nil {
					t.Fatal(err)
				}
				holder, err := parsed.Holder()
				if err != nil {
					t.Fatal(err)
				}
				held := &csrapproving.Held{Signer: own, First: first, Holder: holder, Identity: &identity.Identity{Name: "jane"}, Expires: time.Now().Add(time.Minute)}
				if tt.change != nil {
					tt.change(r, held)
				}
				got, after := verdict(t, r, csrapproving.Renewals{
					Signers: map[string]*signing.Signer{own: {Name: own, Renewable: total}},
					Issued: func(_ context.Context, digest string) (*csrapproving.Held, error) {
						if digest != "mine" {
							return nil, tt.issued
						}
						return held, tt.issued
					},
					Judge: func(who *identity.Identity) error {
						if who != held.Identity {
							t.Error("somebody else is judged")
						}
						return tt.judge
					},
					Log: controllertest.Log(t),
				})
				since, renewed := signing.RenewedSince(after)
				if got != tt.want || renewed != (tt.want != "") || renewed && !since.Equal(first) {
					t.Errorf("approved for %q, want %q; renewed %v since %v", got, tt.want, renewed, since)
				}
			})
		})
	}
}

// What keeps to the rules of a signer is approved for who may have that.
func TestOwnSigners(t *testing.T) {
	rules, mistakes := signing.Own{CommonNames: []string{"${username}"}, Organizations: []string{"system:nodes"},
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}}.Compile()
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	signer := &signing.Signer{Name: own, Rules: rules, Reserved: func() map[[sha256.Size]byte]string { return nil }}
	for _, tt := range []struct {
		name, may, commonName, signer, want string
	}{
		{"permitted", "auto-approve signers " + own, "jane", own, "AutoApproved"},
		{"permitted in the domain", "auto-approve signers example.com/*", "jane", own, "AutoApproved"},
		{"not permitted", "", "jane", own, ""},
		{"permitted to approve", "approve signers " + own, "jane", own, ""},
		{"permitted for another", "auto-approve signers " + another, "jane", own, ""},
		{"against the rules", "auto-approve signers " + own, "root", own, ""},
		{"another signer", "auto-approve signers " + another, "jane", another, ""},
		{"the authorizer fails", "error", "jane", own, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := asked(t, "jane", tt.commonName, "")
				r.Spec.SignerName = tt.signer
				may := authorizerFunc(func(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
					if tt.may == "error" {
						return authz.Answer{}, errors.New("away")
					}
					if a.User.Name == "jane" && tt.may == a.Verb+" "+a.Resource+" "+a.Name {
						return authz.Answer{Verdict: authz.Allow}, nil
					}
					return authz.Answer{}, nil
				})
				if got, _ := verdict(t, r, csrapproving.Own{Authorizer: may, Signers: map[string]*signing.Signer{own: signer}}); got != tt.want {
					t.Errorf("approved for %q, want %q", got, tt.want)
				}
			})
		})
	}
}
