package main

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/revocation"
)

const (
	// revokedThings is how many Revocations there are.
	revokedThings = 1_000_000
	// sameCost is what a request may cost with them, in parts of what it costs
	// with none.
	sameCost = 1.1
	// judgedBy is how many places of memory a judgement in full may read that are
	// far away: a bucket and its entries for the credential by jti, by digest and
	// twice by key, the user, and three groups.
	judgedBy = 2 * 8
)

// revocations measures whether a request costs more while much is revoked.
func revocations(t *measure.Table) error {
	t.Section("Judging a caller with a million Revocations in force (beside it: with none)")
	none := revocation.New()
	many, err := revokeMany(revokedThings)
	if err != nil {
		return err
	}
	who := &identity.Identity{
		Name: "jane", Groups: []string{"devs", "ops", identity.GroupAuthenticated},
		Credential: identity.Credential{
			Method: identity.JWT, Issuer: "https://idp.example.org", ID: "JTI=mine", Digest: "mine", KeyID: "mine", IssuedAt: time.Now(),
		},
	}
	request := func(x *revocation.Index) measure.Operation {
		res := &authn.Result{Identity: who}
		return func(n int) {
			for range n {
				if x.JudgeResult(res) != nil {
					panic("nobody here is revoked")
				}
			}
		}
	}
	with, without, ratio := measure.Both(request(many), request(none))
	t.Relative("of a request whose credential is remembered", with, without, ratio, sameCost)
	t.None("allocations of that", with.Allocs)

	latency := memoryLatency()
	cost := measure.One(func(n int) {
		for range n {
			if many.Judge(who) != nil {
				panic("nobody here is revoked")
			}
		}
	})
	most := judgedBy * latency.CPU
	over := measure.Exceeds(float64(cost.CPU), float64(cost.Noise), float64(most))
	t.Alone("in full, as a first request is", measure.Show(cost.CPU), over, measure.Show(most))
	t.None("allocations of that", cost.Allocs)
	return nil
}

// revokeMany returns an index with Revocations of all kinds.
func revokeMany(n int) (*revocation.Index, error) {
	x := revocation.New()
	for i := range n {
		name := fmt.Sprint("other-", i)
		var s v1alpha1.RevocationSpec
		switch i % 8 {
		case 0:
			s.User = name
		case 1:
			s.Group = name
		case 2:
			s.CredentialID = "NAME=" + name
		case 3:
			s.Key = &v1alpha1.RevokedKey{ID: name}
		case 4:
			s.Issuer = name
		case 5:
			s.Certificate = &v1alpha1.RevokedCertificate{Issuer: "CN=ca", SerialNumber: name, TBSSHA256: name}
		default:
			s.Token = &v1alpha1.RevokedToken{Issuer: "https://idp.example.org", JTI: name, SigningInputSHA256: name}
		}
		if err := x.Put(&v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: s}); err != nil {
			return nil, err
		}
	}
	return x, nil
}
