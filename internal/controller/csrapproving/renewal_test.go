package csrapproving_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"reflect"
	"strings"
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
func verdict(t *testing.T, r *signingRequest, judge func(*identity.Identity) error, recognizers ...csrapproving.Recognizer) (string, *signingRequest) {
	t.Helper()
	store := controllertest.NewStore[*signingRequest]("certificatesigningrequests")
	if _, err := store.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c := &csrapproving.Controller{Requests: store.Informer(), Approval: store, Recognizers: recognizers, Judge: judge, Log: controllertest.Log(t)}
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
		present(t, r, identity.Identity{Credential: identity.Credential{Method: identity.ClientCertificate, Digest: presented}})
	}
	return r
}

// present writes into a request what it was sent with.
func present(t *testing.T, r *signingRequest, who identity.Identity) {
	text, err := signing.AskedWith(&who)
	if err != nil {
		t.Fatal(err)
	}
	r.Spec.Extra[signing.AskedWithKey] = certificatesv1.ExtraValue{text}
}

// Who holds a certificate may renew it, and nobody else, and not for ever.
func TestRenewals(t *testing.T) {
	const total = 48 * time.Hour
	for _, tt := range []struct {
		name   string
		change func(r *signingRequest, held *signing.Held)
		issued error
		judge  error
		after  time.Duration // since the first approval
		want   string
	}{
		{"the holder", nil, nil, nil, time.Hour, "Renewed"},
		{"the holder, at the last moment", nil, nil, nil, total - 10*time.Minute, "Renewed"},
		{"after the total lifetime", nil, nil, nil, total - 10*time.Minute + time.Second, ""},
		{"long after the total lifetime", nil, nil, nil, 10 * total, ""},
		{"sent without a certificate", func(r *signingRequest, _ *signing.Held) { delete(r.Spec.Extra, signing.AskedWithKey) }, nil, nil, time.Hour, ""},
		{"sent with a certificate that is not known", func(r *signingRequest, _ *signing.Held) {
			present(t, r, identity.Identity{Credential: identity.Credential{Method: identity.ClientCertificate, Digest: "other"}})
		}, nil, nil, time.Hour, ""},
		{"sent with two", func(r *signingRequest, _ *signing.Held) {
			r.Spec.Extra[signing.AskedWithKey] = append(r.Spec.Extra[signing.AskedWithKey], r.Spec.Extra[signing.AskedWithKey]...)
		}, nil, nil, time.Hour, ""},
		{"sent by a proxy", func(r *signingRequest, _ *signing.Held) {
			present(t, r, identity.Identity{Credential: identity.Credential{Method: identity.FrontProxy, Digest: "mine"}})
		}, nil, nil, time.Hour, ""},
		{"sent as somebody else", func(r *signingRequest, _ *signing.Held) {
			present(t, r, identity.Identity{Impersonator: &identity.Identity{Name: "root"}, Credential: identity.Credential{Method: identity.ClientCertificate, Digest: "mine"}})
		}, nil, nil, time.Hour, ""},
		{"a certificate of another signer", func(_ *signingRequest, h *signing.Held) { h.Signer = another }, nil, nil, time.Hour, ""},
		{"to a signer that does not renew", func(r *signingRequest, h *signing.Held) { r.Spec.SignerName, h.Signer = another, another }, nil, nil, time.Hour, ""},
		{"for another subject", func(_ *signingRequest, h *signing.Held) { h.Holder = "another" }, nil, nil, time.Hour, ""},
		{"for more usages", func(r *signingRequest, _ *signing.Held) {
			r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageServerAuth)
		}, nil, nil, time.Hour, ""},
		{"as another user", func(r *signingRequest, _ *signing.Held) { r.Spec.Username = "root" }, nil, nil, time.Hour, ""},
		{"when it has expired", func(_ *signingRequest, h *signing.Held) { h.Expires = time.Now() }, nil, nil, time.Hour, ""},
		{"first issued in the future", func(_ *signingRequest, h *signing.Held) { h.Since = time.Now().Add(time.Hour) }, nil, nil, time.Hour, ""},
		{"when it was taken back", nil, nil, errors.New("revoked"), time.Hour, ""},
		{"when the register is away", nil, errors.New("away"), nil, time.Hour, ""},
		{"denied", func(r *signingRequest, _ *signing.Held) {
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
				held := &signing.Held{Signer: own, Since: first, Holder: holder, User: "jane", Expires: time.Now().Add(time.Minute)}
				if tt.change != nil {
					tt.change(r, held)
				}
				judge := func(who *identity.Identity) error {
					if want := signing.Asker(r); !reflect.DeepEqual(who, want) {
						t.Errorf("%+v is judged, want %+v", who, want)
					}
					return tt.judge
				}
				got, after := verdict(t, r, judge, csrapproving.Renewals{
					Signers: map[string]*signing.Signer{own: {Name: own, Renewable: total}},
					Issued: func(_ context.Context, digest string) (*signing.Held, error) {
						if digest != "mine" {
							return nil, tt.issued
						}
						return held, tt.issued
					},
					Log: controllertest.Log(t),
				})
				if got != tt.want || signing.IsRenewal(after) != (tt.want != "") {
					t.Errorf("approved for %q, want %q; renewed %v", got, tt.want, signing.IsRenewal(after))
				}
				for _, c := range after.Status.Conditions {
					if c.Type == signing.Renewed && !c.LastTransitionTime.Time.Equal(first) {
						t.Errorf("renewed since %v, want %v", c.LastTransitionTime, first)
					}
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
	signer := &signing.Signer{Name: own, Rules: rules, Renewable: time.Hour, Reserved: func() map[[sha256.Size]byte]string { return nil }}
	for _, tt := range []struct {
		name, may, commonName, signer, want string
	}{
		{"sent with a certificate of another signer", "auto-approve signers " + own + " with another", "jane", own, "AutoApproved"},
		{"sent with one of the signer, which would go on for ever", "auto-approve signers " + own + " with mine", "jane", own, ""},
		{"sent with one of another signer that was got with one of the signer", "auto-approve signers " + own + " with roundabout", "jane", own, ""},
		{"sent with one of another signer that came through a third", "auto-approve signers " + own + " with onward", "jane", own, "AutoApproved"},
		{"sent with one that came through the signer, for another user", "auto-approve signers " + own + " with delegate", "jane", own, "AutoApproved"},
		{"sent with one, and the register is away", "auto-approve signers " + own + " with away", "jane", own, ""},
		{"taken back", "auto-approve signers " + own + " with revoked", "jane", own, ""},
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
				may, with, _ := strings.Cut(tt.may, " with ")
				r := asked(t, "jane", tt.commonName, with)
				r.Spec.SignerName = tt.signer
				authorizer := authorizerFunc(func(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
					if may == "error" {
						return authz.Answer{}, errors.New("away")
					}
					if a.User.Name == "jane" && may == a.Verb+" "+a.Resource+" "+a.Name {
						return authz.Answer{Verdict: authz.Allow}, nil
					}
					return authz.Answer{}, nil
				})
				judge := func(who *identity.Identity) error {
					if who.Credential.Digest == "revoked" {
						return errors.New("revoked")
					}
					return nil
				}
				recognizer := csrapproving.Own{
					Authorizer: authorizer, Signers: map[string]*signing.Signer{own: signer},
					Issued: func(_ context.Context, digest string) (*signing.Held, error) {
						switch digest {
						case "mine":
							return &signing.Held{Signer: own, User: "jane"}, nil
						case "another":
							return &signing.Held{Signer: another, User: "jane"}, nil
						case "roundabout":
							return &signing.Held{Signer: another, User: "jane", Through: []string{"example.com/third", own}}, nil
						case "onward":
							return &signing.Held{Signer: another, User: "jane", Through: []string{"example.com/third"}}, nil
						case "delegate":
							return &signing.Held{Signer: another, User: "joe", Through: []string{own}}, nil
						}
						return nil, errors.New("away")
					},
				}
				if got, _ := verdict(t, r, judge, recognizer); got != tt.want {
					t.Errorf("approved for %q, want %q", got, tt.want)
				}
			})
		})
	}
}
