package coordination_test

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/validation/coordination"
	"gatehouse.dev/gatehouse/internal/api/validation/validationtest"
)

func TestLease(t *testing.T) {
	named := func(s coordinationv1.CoordinatedLeaseStrategy) *coordinationv1.CoordinatedLeaseStrategy { return &s }
	for _, test := range []struct {
		name string
		spec coordinationv1.LeaseSpec
		want []string
	}{
		{name: "empty"},
		{name: "held", spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(15)), LeaseTransitions: new(int32(0))}},
		{name: "coordinated", spec: coordinationv1.LeaseSpec{
			Strategy: named(coordinationv1.OldestEmulationVersion), PreferredHolder: new("b")}},
		{name: "own strategy", spec: coordinationv1.LeaseSpec{Strategy: named("example.com/dice")}},
		{name: "no time", spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(0))},
			want: []string{`spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0`}},
		{name: "backwards", spec: coordinationv1.LeaseSpec{LeaseTransitions: new(int32(-1))},
			want: []string{`spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0`}},
		{name: "unknown strategy", spec: coordinationv1.LeaseSpec{Strategy: named("Dice")},
			want: []string{`spec.strategy.strategy: Unsupported value: "Dice": supported values: "OldestEmulationVersion"`}},
		{name: "preference without strategy", spec: coordinationv1.LeaseSpec{PreferredHolder: new("b")},
			want: []string{"spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			lease := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "b", ResourceVersion: "1"},
				Spec:       test.spec,
			}
			validationtest.Check(t, coordination.ValidateLease(lease), test.want...)
			validationtest.Check(t, coordination.ValidateLeaseUpdate(lease, lease), test.want...)
		})
	}
}
