package rbac

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gatehouse.dev/gatehouse/internal/api/validation"
)

// ValidateRoleBinding returns what is wrong with a role binding that is to be
// created. Whether the role exists is not asked.
func ValidateRoleBinding(binding *rbacv1.RoleBinding) field.ErrorList {
	errs := validation.ValidateObjectMeta(&binding.ObjectMeta, true, validation.NameIsPathSegment)
	errs = append(errs, roleRef(binding.RoleRef, "Role", "ClusterRole")...)
	return append(errs, subjects(binding.Subjects, true)...)
}

// ValidateRoleBindingUpdate returns what is wrong with putting updated in the
// place of old. The role of a binding never changes: who may edit subjects
// would otherwise be able to raise what the existing ones may do.
func ValidateRoleBindingUpdate(updated, old *rbacv1.RoleBinding) field.ErrorList {
	errs := ValidateRoleBinding(updated)
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
	return append(errs, sameRoleRef(updated.RoleRef, old.RoleRef)...)
}

// ValidateClusterRoleBinding returns what is wrong with a cluster role binding
// that is to be created.
func ValidateClusterRoleBinding(binding *rbacv1.ClusterRoleBinding) field.ErrorList {
	errs := validation.ValidateObjectMeta(&binding.ObjectMeta, false, validation.NameIsPathSegment)
	errs = append(errs, roleRef(binding.RoleRef, "ClusterRole")...)
	return append(errs, subjects(binding.Subjects, false)...)
}

// ValidateClusterRoleBindingUpdate is [ValidateRoleBindingUpdate] for the whole
// cluster.
func ValidateClusterRoleBindingUpdate(updated, old *rbacv1.ClusterRoleBinding) field.ErrorList {
	errs := ValidateClusterRoleBinding(updated)
	errs = append(errs, validation.ValidateObjectMetaUpdate(&updated.ObjectMeta, &old.ObjectMeta)...)
	return append(errs, sameRoleRef(updated.RoleRef, old.RoleRef)...)
}

func sameRoleRef(updated, old rbacv1.RoleRef) field.ErrorList {
	if updated == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), updated, "cannot change roleRef")}
}

func roleRef(ref rbacv1.RoleRef, kinds ...string) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("roleRef")
	if ref.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(at.Child("apiGroup"), ref.APIGroup, []string{rbacv1.GroupName}))
	}
	if !slices.Contains(kinds, ref.Kind) {
		errs = append(errs, field.NotSupported(at.Child("kind"), ref.Kind, kinds))
	}
	if ref.Name == "" {
		return append(errs, field.Required(at.Child("name"), ""))
	}
	for _, msg := range validation.NameIsPathSegment(ref.Name, false) {
		errs = append(errs, field.Invalid(at.Child("name"), ref.Name, msg))
	}
	return errs
}

func subjects(list []rbacv1.Subject, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, subject(&list[i], namespaced, field.NewPath("subjects").Index(i))...)
	}
	return errs
}

func subject(s *rbacv1.Subject, namespaced bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return append(errs, serviceAccountSubject(s, namespaced, at)...)
	case rbacv1.UserKind, rbacv1.GroupKind:
		if s.APIGroup != rbacv1.GroupName {
			errs = append(errs, field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{rbacv1.GroupName}))
		}
		return errs
	}
	kinds := []string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}
	return append(errs, field.NotSupported(at.Child("kind"), s.Kind, kinds))
}

func serviceAccountSubject(s *rbacv1.Subject, namespaced bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name != "" {
		for _, msg := range apivalidation.ValidateServiceAccountName(s.Name, false) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, msg))
		}
	}
	if s.APIGroup != "" {
		errs = append(errs, field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{""}))
	}
	// In a role binding the namespace may be left out: it is the binding's own.
	if !namespaced && s.Namespace == "" {
		errs = append(errs, field.Required(at.Child("namespace"), ""))
	}
	return errs
}
