// Package aggregation fills in the rules of the ClusterRoles that are made of
// others: those with an aggregationRule.
//
// The idea is that any change of any ClusterRole asks for all aggregated ones
// anew, as upstream does: a label may have come or gone, and there are few of
// them. It refuses to judge what is granted: the aggregationRule was checked
// against escalation when it was written.
//
// Upstream: pkg/controller/clusterroleaggregation.
package aggregation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller"
)

// A Controller keeps aggregated roles up to date. All fields are required.
type Controller struct {
	Roles cache.SharedIndexInformer // of *rbacv1.ClusterRole
	Store controller.Objects[*rbacv1.ClusterRole]
	// Union returns the rules that role shall have, given all roles in the order
	// of their names, itself among them. It must change neither.
	Union func(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) []rbacv1.PolicyRule
	Log   *slog.Logger
}

// Run works until ctx is done, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	loop := controller.Loop[string]{
		Sources: []controller.Source[string]{controller.Watch(c.Roles, c.aggregated)},
		Sync:    c.sync,
		Log:     c.Log,
	}
	return loop.Run(ctx)
}

// aggregated returns the names of all aggregated roles, whichever changed.
func (c *Controller) aggregated(*rbacv1.ClusterRole) []string {
	var names []string
	for _, role := range c.all() {
		if role.AggregationRule != nil {
			names = append(names, role.Name)
		}
	}
	return names
}

// sync gives one aggregated role its rules.
func (c *Controller) sync(ctx context.Context, name string) error {
	cached, ok := controller.Cached[*rbacv1.ClusterRole](c.Roles, "", name)
	if !ok || cached.AggregationRule == nil {
		return nil
	}
	all := c.all()
	slices.SortFunc(all, func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	rules := c.Union(cached, all)
	if equality.Semantic.DeepEqual(rules, cached.Rules) {
		return nil
	}
	role := cached.DeepCopy()
	// The union is made of what is in the cache, so it is copied as well.
	role.Rules = (&rbacv1.ClusterRole{Rules: rules}).DeepCopy().Rules
	if _, err := c.Store.Update(ctx, role); err != nil {
		return fmt.Errorf("updating aggregated role: %w", err)
	}
	return nil
}

// all returns the roles in the cache.
func (c *Controller) all() []*rbacv1.ClusterRole {
	var roles []*rbacv1.ClusterRole
	for _, obj := range c.Roles.GetIndexer().List() {
		if role, ok := obj.(*rbacv1.ClusterRole); ok {
			roles = append(roles, role)
		}
	}
	return roles
}
