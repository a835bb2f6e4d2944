package columns

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

type named interface {
	runtime.Object
	metav1.Object
}

// Generic returns a Table of any object with a name: its name, and when it was
// created, in UTC. Kubernetes prints Roles and ClusterRoles so, and so does the
// default of k8s.io/apiserver's registry.
func Generic() *Table {
	created := metav1.TableColumnDefinition{
		Name: "Created At", Type: "date",
		Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
	}
	return New([]metav1.TableColumnDefinition{nameColumn(), created}, func(obj named, _ time.Time) []any {
		return []any{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
	})
}
