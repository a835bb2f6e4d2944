package columns_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gatehouse.dev/gatehouse/internal/api/columns"
)

// ago returns when something happened; it only means anything in a bubble.
func ago(d time.Duration) metav1.Time { return metav1.NewTime(time.Now().Add(-d)) }

// named returns the metadata of an object that is five minutes old.
func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, CreationTimestamp: ago(5 * time.Minute)}
}

// printed returns the lines that "kubectl get" and "kubectl get -o wide" show of
// obj: cells are parted by " | ", and wide columns stand in brackets.
func printed(t *testing.T, table *columns.Table, obj runtime.Object) string {
	t.Helper()
	got, err := table.ConvertToTable(t.Context(), obj, nil)
	if err != nil {
		t.Fatalf("ConvertToTable(%T): %v", obj, err)
	}
	cell := func(i int, v any) string {
		if got.ColumnDefinitions[i].Priority > 0 {
			return fmt.Sprintf("[%v]", v)
		}
		return fmt.Sprint(v)
	}
	var lines, head []string
	for i, c := range got.ColumnDefinitions {
		if c.Description == "" {
			t.Errorf("column %s of %T has no description", c.Name, obj)
		}
		head = append(head, cell(i, strings.ToUpper(c.Name)))
	}
	lines = append(lines, strings.Join(head, " | "))
	for _, r := range got.Rows {
		if len(r.Cells) != len(got.ColumnDefinitions) {
			t.Fatalf("%d cells in %d columns", len(r.Cells), len(got.ColumnDefinitions))
		}
		var cells []string
		for i, c := range r.Cells {
			cells = append(cells, cell(i, c))
		}
		lines = append(lines, strings.Join(cells, " | "))
	}
	return strings.Join(lines, "\n")
}

// A golden is a kind, some objects of it, and what kubectl shows of them.
type golden struct {
	name  string
	table *columns.Table
	obj   runtime.Object
	want  string
}

// testGolden prints in a bubble, where five minutes ago stays five minutes ago.
func testGolden(t *testing.T, goldens func() []golden) {
	synctest.Test(t, func(t *testing.T) {
		for _, g := range goldens() {
			if diff := cmp.Diff(strings.TrimSpace(g.want), printed(t, g.table, g.obj)); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", g.name, diff)
			}
		}
	})
}

func TestListMeta(t *testing.T) {
	left := int64(7)
	list := &corev1.NamespaceList{
		ListMeta: metav1.ListMeta{ResourceVersion: "42", Continue: "next", RemainingItemCount: &left},
		Items:    []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}},
	}
	got, err := columns.Namespace().ConvertToTable(t.Context(), list, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list.ListMeta, got.ListMeta); diff != "" {
		t.Errorf("metadata of the list: (-want +got)\n%s", diff)
	}
	for i := range list.Items {
		if got.Rows[i].Object.Object != &list.Items[i] {
			t.Errorf("row %d does not carry its object", i)
		}
	}
	one := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "9"}}
	if got, err = columns.Namespace().ConvertToTable(t.Context(), one, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metav1.ListMeta{ResourceVersion: "9"}, got.ListMeta); diff != "" {
		t.Errorf("metadata of one object: (-want +got)\n%s", diff)
	}
}

func TestTableOptions(t *testing.T) {
	tests := []struct {
		name        string
		options     runtime.Object
		wantHeaders bool
		wantErr     string
	}{
		{name: "none", wantHeaders: true},
		{name: "nil", options: (*metav1.TableOptions)(nil), wantHeaders: true},
		{name: "empty", options: &metav1.TableOptions{}, wantHeaders: true},
		{name: "no headers", options: &metav1.TableOptions{NoHeaders: true}},
		{
			name: "another type", options: &metav1.ListOptions{},
			wantErr: "unrecognized type *v1.ListOptions for table options, can't display tabular output",
		},
	}
	for _, tt := range tests {
		got, err := columns.Secret().ConvertToTable(t.Context(), &corev1.SecretList{Items: make([]corev1.Secret, 1)}, tt.options)
		if tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("%s: error %v, want %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if headers := len(got.ColumnDefinitions) > 0; headers != tt.wantHeaders || len(got.Rows) != 1 {
			t.Errorf("%s: headers %v and %d rows, want %v and 1", tt.name, headers, len(got.Rows), tt.wantHeaders)
		}
	}
}

func TestEmptyListIsNotNull(t *testing.T) {
	got, err := columns.Pod().ConvertToTable(t.Context(), &corev1.PodList{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"rows":[]`) {
		t.Errorf("an empty list has no empty list of rows: %s", data)
	}
}

func TestAnotherKindIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		table *columns.Table
		obj   runtime.Object
		want  string
	}{
		{"one", columns.Pod(), &corev1.Secret{}, "printing *v1.Secret: this is a table of *v1.Pod"},
		{"in a list", columns.Secret(), &corev1.PodList{Items: make([]corev1.Pod, 2)}, "printing *v1.Pod: this is a table of *v1.Secret"},
		{"no name", columns.Generic(), &metav1.Status{}, "printing *v1.Status: this is a table of columns.named"},
	}
	for _, tt := range tests {
		if _, err := tt.table.ConvertToTable(t.Context(), tt.obj, nil); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestGeneric(t *testing.T) {
	created := metav1.NewTime(time.Date(2026, 3, 1, 2, 30, 0, 0, time.FixedZone("", 3600)))
	obj := metav1.ObjectMeta{Name: "reader", CreationTimestamp: created}
	want := "NAME | CREATED AT\nreader | 2026-03-01T01:30:00Z"
	for _, g := range []golden{
		{name: "Role", table: columns.Role(), obj: &rbacv1.Role{ObjectMeta: obj}},
		{name: "ClusterRole", table: columns.ClusterRole(), obj: &rbacv1.ClusterRole{ObjectMeta: obj}},
		{name: "list", table: columns.Generic(), obj: &rbacv1.RoleList{Items: []rbacv1.Role{{ObjectMeta: obj}}}},
	} {
		if got := printed(t, g.table, g.obj); got != want {
			t.Errorf("%s prints\n%s\nwant\n%s", g.name, got, want)
		}
	}
}
