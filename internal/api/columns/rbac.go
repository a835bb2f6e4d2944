package columns

import (
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Role returns the Table of Roles.
func Role() *Table { return Generic() }

// ClusterRole returns the Table of ClusterRoles.
func ClusterRole() *Table { return Generic() }

// RoleBinding returns the Table of RoleBindings.
func RoleBinding() *Table {
	doc := rbacv1.RoleBinding{}.SwaggerDoc()
	return New(bindingColumns("roleBinding", doc["roleRef"]), func(b *rbacv1.RoleBinding, now time.Time) []any {
		return bindingCells(b.ObjectMeta, b.RoleRef, b.Subjects, now)
	})
}

// ClusterRoleBinding returns the Table of ClusterRoleBindings.
func ClusterRoleBinding() *Table {
	doc := rbacv1.ClusterRoleBinding{}.SwaggerDoc()
	return New(bindingColumns("clusterRoleBinding", doc["roleRef"]), func(b *rbacv1.ClusterRoleBinding, now time.Time) []any {
		return bindingCells(b.ObjectMeta, b.RoleRef, b.Subjects, now)
	})
}

func bindingColumns(kind, roleRef string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Role", roleRef),
		ageColumn(),
		wideColumn("Users", "Users in the "+kind),
		wideColumn("Groups", "Groups in the "+kind),
		wideColumn("ServiceAccounts", "ServiceAccounts in the "+kind),
	}
}

func bindingCells(m metav1.ObjectMeta, role rbacv1.RoleRef, subjects []rbacv1.Subject, now time.Time) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{
		m.Name,
		role.Kind + "/" + role.Name,
		age(m.CreationTimestamp.Time, now),
		strings.Join(users, ", "),
		strings.Join(groups, ", "),
		strings.Join(accounts, ", "),
	}
}
