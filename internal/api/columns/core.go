package columns

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace returns the Table of Namespaces.
func Namespace() *Table {
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Status", "The status of the namespace"),
		ageColumn(),
	}, func(n *corev1.Namespace, now time.Time) []any {
		return []any{n.Name, string(n.Status.Phase), age(n.CreationTimestamp.Time, now)}
	})
}

// ServiceAccount returns the Table of ServiceAccounts. It has no column for
// their secrets: Kubernetes has none any more, since accounts have no token
// Secrets of their own.
func ServiceAccount() *Table {
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		ageColumn(),
	}, func(a *corev1.ServiceAccount, now time.Time) []any {
		return []any{a.Name, age(a.CreationTimestamp.Time, now)}
	})
}

// Secret returns the Table of Secrets, which shows how many keys each has.
func Secret() *Table {
	doc := corev1.Secret{}.SwaggerDoc()
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Type", doc["type"]),
		column("Data", doc["data"]),
		ageColumn(),
	}, func(s *corev1.Secret, now time.Time) []any {
		return []any{s.Name, string(s.Type), int64(len(s.Data)), age(s.CreationTimestamp.Time, now)}
	})
}

// ConfigMap returns the Table of ConfigMaps, which shows how many keys each
// has, of text and bytes together.
func ConfigMap() *Table {
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Data", corev1.ConfigMap{}.SwaggerDoc()["data"]),
		ageColumn(),
	}, func(m *corev1.ConfigMap, now time.Time) []any {
		return []any{m.Name, int64(len(m.Data) + len(m.BinaryData)), age(m.CreationTimestamp.Time, now)}
	})
}
