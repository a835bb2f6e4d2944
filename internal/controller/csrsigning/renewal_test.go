package csrsigning_test

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/signing"
)

// sentWith has a request be sent with the credential of an ID, which for a
// certificate is its digest as well.
func sentWith(t *testing.T, method identity.Method, id string) func(*signingRequest) {
	return func(r *signingRequest) {
		text, err := signing.AskedWith(&identity.Identity{Credential: identity.Credential{Method: method, ID: id, Digest: id}})
		if err != nil {
			t.Fatal(err)
		}
		r.Spec.Extra = map[string]certificatesv1.ExtraValue{signing.AskedWithKey: {text}}
	}
}

// all makes one change after another.
func all(changes ...func(*signingRequest)) func(*signingRequest) {
	return func(r *signingRequest) {
		for _, change := range changes {
			change(r)
		}
	}
}

// approvedAs gives the approval a reason.
func approvedAs(reason string) func(*signingRequest) {
	return func(r *signingRequest) { r.Status.Conditions[0].Reason = reason }
}

const (
	gone    = "SignerValidationFailure: the certificate that this renews is not known any more: ask for a new approval"
	takenBy = "SignerValidationFailure: the credential that this was asked for with has been taken back since: ask with another one"
)

// Whether a certificate continues a chain of renewals, and since when, is what the
// register says, whatever stands in the request.
func TestChain(t *testing.T) {
	mine := sentWith(t, identity.ClientCertificate, "mine")
	renewed := approvedAs(signing.RenewedReason)
	condition := func(r *signingRequest) {
		r.Status.Conditions = append(r.Status.Conditions, signing.RenewedCondition(time.Now(), time.Now()))
	}
	for _, tt := range []struct {
		name   string
		change func(*signingRequest)
		held   func(*signing.Held)
		// want is the outcome; chained whether it is of the chain; and since whether
		// the total lifetime goes on.
		want           string
		chained, since bool
	}{
		{"renewed", all(mine, renewed, condition), nil, "issued", true, true},
		{"renewed, and somebody took the condition away", all(mine, renewed), nil, "issued", true, true},
		{"renewed, and somebody changed the reason", all(mine, approvedAs("KubectlApprove"), condition), nil, "issued", true, true},
		{"approved by a person", all(mine, approvedAs("KubectlApprove")), nil, "issued", true, false},
		{"of a kubelet", all(mine, approvedAs("AutoApproved")), nil, "issued", true, false},
		{"sent with nothing", approvedAs("KubectlApprove"), nil, "issued", false, false},
		{"sent with a token", all(sentWith(t, identity.ServiceAccount, "mine"), approvedAs("KubectlApprove")), nil, "issued", false, false},
		{"sent with a certificate of somebody else", all(sentWith(t, identity.ClientCertificate, "foreign"), approvedAs("KubectlApprove")), nil, "issued", false, false},
		{"for another user", all(mine, approvedAs("KubectlApprove")), func(h *signing.Held) { h.User = "joe" }, "issued", false, false},
		{"of another signer", all(mine, approvedAs("KubectlApprove")), func(h *signing.Held) { h.Signer = "example.com/x" }, "issued", true, false},
		{"of another signer, by itself", all(mine, approvedAs(signing.AutoApprovedReason)), func(h *signing.Held) { h.Signer = "example.com/x" }, "issued", true, false},
		{"of another signer, for another user", all(mine, approvedAs(signing.AutoApprovedReason)),
			func(h *signing.Held) { h.Signer, h.User = "example.com/x", "joe" }, "issued", false, false},

		{"said to be renewed, sent with nothing", renewed, nil, gone, false, false},
		{"said to be renewed by a condition alone", condition, nil, gone, false, false},
		{"said to be renewed, sent with a token", all(sentWith(t, identity.ServiceAccount, "mine"), renewed), nil, gone, false, false},
		{"renewed, and forgotten since", all(sentWith(t, identity.ClientCertificate, "foreign"), renewed), nil, gone, false, false},
		{"renewed for another user", all(mine, renewed), func(h *signing.Held) { h.User = "joe" }, gone, false, false},
		{"renewed for other groups", all(mine, renewed), func(h *signing.Held) { h.Holder = "another" }, gone, false, false},
		{"renewed of another signer", all(mine, renewed), func(h *signing.Held) { h.Signer = "example.com/x" }, gone, false, false},
		{"renewed after the total lifetime", all(mine, renewed), func(h *signing.Held) { h.Since = h.Since.Add(-48 * time.Hour) },
			"SignerValidationFailure: the first certificate was signed at FIRST, and could be renewed until LATEST: ask for a new approval", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				start := time.Now().UTC().Truncate(time.Second).Add(-30 * time.Hour)
				const first = "7000000000000000000000000000000000000001"
				serial, _ := new(big.Int).SetString(first, 16)
				held := &signing.Held{Name: "second", First: "first", Serial: serial, Signer: client, Since: start, User: "jane", Expires: time.Now().Add(time.Hour)}
				w.ask("r", "jane", newKey(t), tt.change, approved)
				r, err := w.store.Get(t.Context(), "", "r")
				if err != nil {
					t.Fatal(err)
				}
				request, err := signing.Read(r)
				if err != nil {
					t.Fatal(err)
				}
				if held.Holder, err = request.Holder(); err != nil {
					t.Fatal(err)
				}
				if tt.held != nil {
					tt.held(held)
				}
				w.held = map[string]*signing.Held{"mine": held}
				w.start()
				got, cert := w.outcome("r")
				want := strings.NewReplacer("FIRST", held.Since.Format(time.RFC3339), "LATEST", held.Since.Add(48*time.Hour).Format(time.RFC3339)).Replace(tt.want)
				if got != want {
					t.Errorf("%q, want %q", got, want)
					return
				}
				if tt.want != "issued" {
					if len(w.recorded) != 0 {
						t.Error("it was written down")
					}
					return
				}
				issued := w.issued[0]
				chained := pki.ChainOf(cert.SerialNumber.Text(16)) == pki.ChainOf(first)
				if chained != tt.chained || (issued.Parent != nil) != tt.chained {
					t.Errorf("of the chain: %v, parent %+v", chained, issued.Parent)
				}
				if issued.Since.Equal(start) != tt.since {
					t.Errorf("counted from %v", issued.Since)
				}
				if latest := start.Add(48 * time.Hour); tt.since && !cert.NotAfter.Equal(latest) || !tt.since && !cert.NotAfter.After(latest) {
					t.Errorf("it ends at %v", cert.NotAfter)
				}
			})
		})
	}
}

// Of signers that feed each other without a person, all that they sign is of one
// chain, which knows its way; a person begins another way.
func TestFeedingSigners(t *testing.T) {
	const other = "example.com/other"
	bubble(t, func(w *world) {
		twin := *w.c.Signers[0]
		twin.Name = other
		w.c.Signers = append(w.c.Signers, &twin)
		w.held = map[string]*signing.Held{}
		w.start()
		var chain string
		for i, step := range []struct{ signer, reason, through string }{
			{client, "KubectlApprove", ""},
			{other, signing.AutoApprovedReason, client},
			{other, signing.RenewedReason, client},
			{client, signing.AutoApprovedReason, client + " " + other},
			{other, signing.AutoApprovedReason, client + " " + other},
			{client, "KubectlApprove", ""},
			{client, signing.RenewedReason, ""},
			{other, "KubectlApprove", ""},
			{client, signing.AutoApprovedReason, other},
		} {
			name := fmt.Sprint("r", i)
			w.ask(name, "jane", newKey(t), all(sentWith(t, identity.ClientCertificate, fmt.Sprint("r", i-1)), approvedAs(step.reason),
				func(r *signingRequest) { r.Spec.SignerName = step.signer }), approved)
			got, cert := w.outcome(name)
			if got != "issued" {
				t.Fatalf("%s: %q", name, got)
			}
			issued := w.issued[i]
			if of := pki.ChainOf(cert.SerialNumber.Text(16)); i == 0 {
				chain = of
			} else if of != chain || issued.Parent == nil {
				t.Errorf("%s is of the chain %s, want %s", name, of, chain)
			}
			if through := strings.Join(issued.Through, " "); through != step.through {
				t.Errorf("%s came through %q, want %q", name, through, step.through)
			}
			w.set(func() {
				w.held[name] = &signing.Held{Name: name, First: "r0", Serial: cert.SerialNumber, Signer: step.signer, Since: issued.Since,
					Holder: issued.Holder, User: "jane", Expires: cert.NotAfter, Through: issued.Through}
			})
		}
	})
}

// What was asked for with a credential that was taken back is not signed, nor
// handed out if that happens while it is.
func TestTakenBack(t *testing.T) {
	token := sentWith(t, identity.ServiceAccount, "JTI=1")
	t.Run("before", func(t *testing.T) {
		bubble(t, func(w *world) {
			w.revoked["JTI=1"] = true
			w.ask("r", "jane", newKey(t), token, approved)
			w.ask("other", "jane", newKey(t), sentWith(t, identity.ServiceAccount, "JTI=2"), approved)
			w.start()
			got, _ := w.outcome("r")
			other, _ := w.outcome("other")
			if got != takenBy || other != "issued" || len(w.recorded) != 1 || w.counts["refused"] != 1 {
				t.Errorf("%q, the other one %q, recorded %v, counted %v", got, other, w.recorded, w.counts)
			}
		})
	})
	// Another process says it after this one has judged, and before the certificate
	// leaves: it is known once this one has caught up.
	t.Run("meanwhile", func(t *testing.T) {
		bubble(t, func(w *world) {
			w.follow = func() { w.revoked["JTI=1"] = true }
			w.ask("r", "jane", newKey(t), token, approved)
			w.start()
			if got, cert := w.outcome("r"); got != takenBy || cert != nil || len(w.recorded) != 1 {
				t.Errorf("%q, recorded %v", got, w.recorded)
			}
		})
	})
	// Without knowing what was revoked, nothing leaves.
	t.Run("cut off", func(t *testing.T) {
		bubble(t, func(w *world) {
			w.following = errors.New("the store is away")
			w.ask("r", "jane", newKey(t), token, approved)
			w.start()
			if got, cert := w.outcome("r"); got != "" || cert != nil {
				t.Errorf("%q without proof", got)
			}
			w.set(func() { w.following = nil })
			time.Sleep(time.Minute)
			synctest.Wait()
			if got, _ := w.outcome("r"); got != "issued" {
				t.Errorf("%q with proof", got)
			}
		})
	})
	t.Run("the register is away", func(t *testing.T) {
		bubble(t, func(w *world) {
			w.holding = errors.New("the store is away")
			w.ask("r", "jane", newKey(t), sentWith(t, identity.ClientCertificate, "mine"), approved)
			w.start()
			if got, _ := w.outcome("r"); got != "" || len(w.recorded) != 0 {
				t.Errorf("%q without the register", got)
			}
		})
	})
}
