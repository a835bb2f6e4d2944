// Package rbac says what is wrong with the objects of
// rbac.authorization.k8s.io/v1: roles and their bindings.
//
// The one idea: a rule that could never match anything, or a binding that
// names nobody, is refused when it is written, so that nobody believes it to
// grant something. Whether the writer may grant it is not decided here.
//
// Source: pkg/apis/rbac/validation.
package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateRole returns what is wrong with a role that is to be created.
func ValidateRole(role *rbacv1.Role) field.ErrorList {
	errs := validation.ValidateObjectMeta(&role.ObjectMeta, true, validation.NameIsPathSegment)
	return append(errs, policyRules(role.Rules, true)...)
}

// ValidateRoleUpdate returns what is wrong with putting updated in the place of
// old.
func ValidateRoleUpdate(updated, old *rbacv1.Role) field.ErrorList {
	errs := ValidateRole(updated)
	return append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
}

// ValidateClusterRole returns what is wrong with a cluster role that is to be
// created.
func ValidateClusterRole(role *rbacv1.ClusterRole) field.ErrorList {
	return clusterRole(role, metavalidation.LabelSelectorValidationOptions{})
}

// ValidateClusterRoleUpdate returns what is wrong with putting updated in the
// place of old. A selector of the aggregation rule may hold an impossible label
// value if one of the old did.
func ValidateClusterRoleUpdate(updated, old *rbacv1.ClusterRole) field.ErrorList {
	errs := clusterRole(updated, metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: hasInvalidLabelValue(old),
	})
	return append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
}

func clusterRole(role *rbacv1.ClusterRole, opts metavalidation.LabelSelectorValidationOptions) field.ErrorList {
	errs := validation.ValidateObjectMeta(&role.ObjectMeta, false, validation.NameIsPathSegment)
	errs = append(errs, policyRules(role.Rules, false)...)
	if role.AggregationRule == nil {
		return errs
	}
	at := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(role.AggregationRule.ClusterRoleSelectors) == 0 {
		errs = append(errs, field.Required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
	}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector := &role.AggregationRule.ClusterRoleSelectors[i]
		errs = append(errs, metavalidation.ValidateLabelSelector(selector, opts, at.Index(i))...)
	}
	return errs
}

func hasInvalidLabelValue(role *rbacv1.ClusterRole) bool {
	if role.AggregationRule == nil {
		return false
	}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		if metavalidation.LabelSelectorHasInvalidLabelValue(&role.AggregationRule.ClusterRoleSelectors[i]) {
			return true
		}
	}
	return false
}

func policyRules(rules []rbacv1.PolicyRule, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		errs = append(errs, policyRule(&rules[i], namespaced, field.NewPath("rules").Index(i))...)
	}
	return errs
}

func policyRule(rule *rbacv1.PolicyRule, namespaced bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(rule.Verbs) == 0 {
		errs = append(errs, field.Required(at.Child("verbs"), "verbs must contain at least one value"))
	}
	if len(rule.NonResourceURLs) > 0 {
		return append(errs, nonResourceRule(rule, namespaced, at.Child("nonResourceURLs"))...)
	}
	if len(rule.APIGroups) == 0 {
		errs = append(errs, field.Required(at.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	if len(rule.Resources) == 0 {
		errs = append(errs, field.Required(at.Child("resources"), "resource rules must supply at least one resource"))
	}
	return errs
}

func nonResourceRule(rule *rbacv1.PolicyRule, namespaced bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if namespaced {
		errs = append(errs, field.Invalid(at, rule.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
	}
	if len(rule.APIGroups) > 0 || len(rule.Resources) > 0 || len(rule.ResourceNames) > 0 {
		errs = append(errs, field.Invalid(at, rule.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
	}
	return errs
}
