package core

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateNode returns what is wrong with a node that is to be created.
func ValidateNode(node *corev1.Node) field.ErrorList {
	errs := validation.ValidateObjectMeta(&node.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	return append(errs, nodeSpec(node, nil)...)
}

// ValidateNodeUpdate returns what is wrong with putting updated in the place of
// old, and is also for the subresource status. Pod CIDRs and the provider's ID
// can be set, and from then on stay.
func ValidateNodeUpdate(updated, old *corev1.Node) field.ErrorList {
	errs := validation.ValidateObjectMeta(&updated.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	errs = append(errs, nodeSpec(updated, old.Spec.PodCIDRs)...)
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)

	seen := make(map[corev1.NodeAddress]bool)
	for i, address := range updated.Status.Addresses {
		if seen[address] {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), address))
		}
		seen[address] = true
	}
	at := field.NewPath("spec")
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(updated.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(at.Child("podCIDRs"), `node updates may not change podCIDR except from "" to valid`))
	}
	if old.Spec.ProviderID != "" && updated.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(at.Child("providerID"), `node updates may not change providerID except from "" to valid`))
	}
	if updated.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(at.Child("externalID"), "may not be updated"))
	}
	return errs
}

// nodeSpec checks the parts that are the same for create and update. The CIDRs
// of oldCIDRs were accepted once, and stay so.
func nodeSpec(node *corev1.Node, oldCIDRs []string) field.ErrorList {
	errs := taints(node.Spec.Taints)
	errs = append(errs, quantities(node.Status.Capacity, field.NewPath("status", "capacity"))...)
	errs = append(errs, quantities(node.Status.Allocatable, field.NewPath("status", "allocatable"))...)
	return append(errs, podCIDRs(node.Spec.PodCIDRs, oldCIDRs)...)
}

// podCIDRs allows at most one CIDR of each family.
func podCIDRs(cidrs, old []string) field.ErrorList {
	at := field.NewPath("spec", "podCIDRs")
	var errs field.ErrorList
	for i, cidr := range cidrs {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(at.Index(i), cidr, true, old)...)
	}
	if len(errs) > 0 || len(cidrs) < 2 {
		return errs
	}
	var v4, v6 int
	for i, cidr := range cidrs {
		if slices.Contains(cidrs[:i], cidr) {
			errs = append(errs, field.Duplicate(at.Index(i), cidr))
		}
		if prefix, err := netip.ParsePrefix(cidr); err == nil && prefix.Addr().Is4() {
			v4++
		} else {
			v6++
		}
	}
	if v4 > 1 || v6 > 1 {
		errs = append(errs, field.Invalid(at, cidrs, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

func quantities(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, quantity := range list {
		if quantity.Cmp(resource.Quantity{}) < 0 {
			errs = append(errs, field.Invalid(at.Child(string(name)), quantity.String(), apivalidation.IsNegativeErrorMsg))
		}
	}
	return errs
}

// taints places its errors under "metadata.taints", where kube-apiserver does.
func taints(list []corev1.Taint) field.ErrorList {
	var errs field.ErrorList
	type id struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := make(map[id]bool)
	for i, taint := range list {
		at := field.NewPath("metadata", "taints").Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(taint.Key, at.Child("key"))...)
		if msgs := utilvalidation.IsValidLabelValue(taint.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), taint.Value, strings.Join(msgs, ";")))
		}
		errs = append(errs, required(taint.Effect, at.Child("effect"),
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		if seen[id{taint.Key, taint.Effect}] {
			twice := field.Duplicate(at, taint)
			twice.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, twice)
		}
		seen[id{taint.Key, taint.Effect}] = true
	}
	return errs
}
