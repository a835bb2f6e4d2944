package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/rbac"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/policy"
)

// changeTarget is how soon a change has to be in force once its event is there.
const changeTarget = 100 * time.Millisecond

// changeRounds is how often each change is made.
const changeRounds = 21

// A change is made over and over, to and fro.
type change struct {
	name    string
	objects rbac.Objects
	user    string
	// make makes the change so that the user may get pods, or may not.
	make func(x *rbac.Index, allowed bool)
}

// changes measures the time from the event of a change until decisions go by
// it. It is elapsed time: a decision is asked for right after.
func changes(t *measure.Table) error {
	t.Section("One change, from its event until it is in force")
	for _, c := range []change{
		{"1 binding of 100,000", perUser(100_000), "user50000", func(x *rbac.Index, allowed bool) {
			x.SetClusterRoleBinding(bind(50_000, "view", "User", pick(allowed, "user50000", "other")))
		}},
		{"1 binding of 100,000 in one namespace", oneNamespace(100_000), "user50000", func(x *rbac.Index, allowed bool) {
			b := rbacv1.RoleBinding(*bind(50_000, "view", "User", pick(allowed, "user50000", "other")))
			b.Namespace = "default"
			x.SetRoleBinding(&b)
		}},
		{"1 ClusterRole that 50,000 bindings refer to", perUser(50_000), "user7", func(x *rbac.Index, allowed bool) {
			x.SetClusterRole(role("view", pick(allowed, "get", "delete"), "pods"))
		}},
		{"1 ClusterRole that 50,000 bindings of everybody refer to", everybody(50_000, false), "user7", func(x *rbac.Index, allowed bool) {
			x.SetClusterRole(role("view", pick(allowed, "get", "delete"), "pods"))
		}},
		{"1 of 100,000 ClusterRoles of everybody", everybody(100_000, true), "user7", func(x *rbac.Index, allowed bool) {
			x.SetClusterRole(role("view099999", pick(allowed, "get", "delete"), "pods"))
		}},
		aggregated(),
	} {
		if err := c.measure(t); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return throughServer(t)
}

// throughServer makes the same kind of change as a client does: from the moment
// it sends a changed ClusterRole until a review answers by it. The role goes
// through the door, the store, the watch and the index of a whole server with
// the default objects.
func throughServer(t *measure.Table) (err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := newPair(dir, auditing()[0].policy)
	if err != nil {
		return err
	}
	defer func() {
		if e := p.close(); err == nil {
			err = e
		}
	}()
	ask := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: caller, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods", Namespace: "default"},
	}}
	var took []time.Duration
	for i := range changeRounds {
		allowed := i%2 == 1
		next := role(readerRole, pick(allowed, "get", "delete"), "pods")
		start := time.Now()
		if err := p.admin("PUT", "/apis/rbac.authorization.k8s.io/v1/clusterroles/"+readerRole, next, nil); err != nil {
			return err
		}
		for answer := (authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: !allowed}}); answer.Status.Allowed != allowed; {
			if time.Since(start) > time.Minute {
				return errors.New("the change does not come into force")
			}
			if err := p.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", ask, &answer); err != nil {
				return err
			}
		}
		took = append(took, time.Since(start))
	}
	showElapsed(t, "1 ClusterRole through the API of a server, with its write", took)
	return nil
}

func showElapsed(t *measure.Table, name string, took []time.Duration) {
	median, spread := measure.Median(took)
	t.Alone(name, fmt.Sprintf("%s, at most %s", measure.Show(median), measure.Show(slices.Max(took))),
		measure.Exceeds(ms(median), ms(spread), ms(changeTarget)), "100 ms")
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// aggregated is a role of 1,000 others, to which 50,000 bindings refer: one of
// the others changes, the rules of the whole are computed anew as the controller
// does, and put in force.
func aggregated() change {
	o := perUser(50_000)
	parts := make([]*rbacv1.ClusterRole, 1000)
	for i := range parts {
		parts[i] = role(fmt.Sprintf("part%04d", i), "get", fmt.Sprint("pods", i))
		parts[i].Labels = map[string]string{"aggregate": "view"}
	}
	whole := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "view"},
		AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
			{MatchLabels: map[string]string{"aggregate": "view"}},
		}},
	}
	o.ClusterRoles = append(slices.Clone(parts), whole)
	return change{"1 part of an aggregated ClusterRole of 1,000 with 50,000 bindings", o, "user7", func(x *rbac.Index, allowed bool) {
		part := role("part0500", "get", pick(allowed, "pods", "pods500"))
		part.Labels = parts[500].Labels
		parts[500] = part
		x.SetClusterRole(part)
		rules, err := policy.Aggregate(whole, parts)
		if err != nil {
			panic(err) // the selector is a constant
		}
		next := whole.DeepCopy()
		next.Rules = rules
		x.SetClusterRole(next)
	}}
}

func (c *change) measure(t *measure.Table) error {
	x := rbac.New()
	x.Replace(c.objects)
	who := &identity.Identity{Name: c.user, Groups: []string{"system:authenticated"}}
	a := &authz.Attributes{User: who, Verb: "get", IsResource: true, Resource: "pods", Namespace: "default", Name: "web"}
	var took []time.Duration
	for i := range changeRounds {
		allowed := i%2 == 1
		start := time.Now()
		c.make(x, allowed)
		answer, err := x.Authorize(context.Background(), a)
		took = append(took, time.Since(start))
		if err != nil {
			return err
		}
		if (answer.Verdict == authz.Allow) != allowed {
			return errors.New("the change is not in force")
		}
	}
	showElapsed(t, c.name, took)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
