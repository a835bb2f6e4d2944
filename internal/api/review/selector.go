package review

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// fieldSelector returns a as a raw selector, and false if any of it had to be
// left out. That is safe: without a requirement the question is broader, and
// who may see more may see less.
func fieldSelector(a *authorizationv1.FieldSelectorAttributes) (string, bool) {
	switch {
	case a == nil:
		return "", true
	case len(a.Requirements) == 0:
		_, err := fields.ParseSelector(a.RawSelector)
		if err != nil {
			return "", false
		}
		return a.RawSelector, true
	}
	var all []fields.Selector
	for _, r := range a.Requirements {
		// The others are in the API, but no server can select with them yet.
		switch {
		case len(r.Values) != 1:
		case r.Operator == metav1.FieldSelectorOpIn:
			all = append(all, fields.OneTermEqualSelector(r.Key, r.Values[0]))
		case r.Operator == metav1.FieldSelectorOpNotIn:
			all = append(all, fields.OneTermNotEqualSelector(r.Key, r.Values[0]))
		}
	}
	return fields.AndSelectors(all...).String(), len(all) == len(a.Requirements)
}

// labelSelector is fieldSelector for labels.
func labelSelector(a *authorizationv1.LabelSelectorAttributes) (string, bool) {
	switch {
	case a == nil:
		return "", true
	case len(a.Requirements) == 0:
		_, err := labels.Parse(a.RawSelector)
		if err != nil {
			return "", false
		}
		return a.RawSelector, true
	}
	all := labels.NewSelector()
	ok := true
	for _, r := range a.Requirements {
		requirement, err := labels.NewRequirement(r.Key, operator(r.Operator), r.Values)
		if err != nil {
			ok = false
			continue
		}
		all = all.Add(*requirement)
	}
	return all.String(), ok
}

// operator returns the operator of a selector for that of a requirement, or one
// that no selector has.
func operator(o metav1.LabelSelectorOperator) selection.Operator {
	switch o {
	case metav1.LabelSelectorOpIn:
		return selection.In
	case metav1.LabelSelectorOpNotIn:
		return selection.NotIn
	case metav1.LabelSelectorOpExists:
		return selection.Exists
	case metav1.LabelSelectorOpDoesNotExist:
		return selection.DoesNotExist
	}
	return ""
}
