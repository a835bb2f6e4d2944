// Package columns prints objects as the tables that "kubectl get" shows.
//
// kubectl knows no columns: it asks for a meta.k8s.io/v1 Table, and the server
// decides what stands in it. The columns here are those of Kubernetes 1.37
// (pkg/printers/internalversion/printers.go), cell for cell, because scripts
// read them.
//
// A [Table] is pure data and a function: the columns of one kind, and the cells
// of one object at one moment. Wide columns (priority 1) are always sent; it is
// the client that leaves them out. A row carries its whole object, which the
// endpoint reduces to what the client asked for.
//
// A Table refuses to print an object of any kind but its own, and no cell ever
// shows the content of a Secret or a ConfigMap, only its size.
package columns

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

// What stands in a cell that has nothing to say.
const (
	none    = "<none>"
	unknown = "<unknown>"
)

// A Table prints objects of one kind, alone or in a list. It is made by [New]
// and may be used by many goroutines at once.
//
// It has the method of the TableConvertor of k8s.io/apiserver's registry.
type Table struct {
	columns    []metav1.TableColumnDefinition
	cells      func(runtime.Object, time.Time) ([]any, error)
	conditions func(runtime.Object) []metav1.TableRowCondition
}

// New returns a Table of objects of type T, a pointer to an API type. It calls
// cells for every row, with the time of the request; cells returns a string, an
// int64 or a bool for each of the columns, in their order.
func New[T runtime.Object](columns []metav1.TableColumnDefinition, cells func(obj T, now time.Time) []any) *Table {
	return &Table{
		columns: columns,
		cells: func(obj runtime.Object, now time.Time) ([]any, error) {
			t, ok := obj.(T)
			if !ok {
				return nil, fmt.Errorf("printing %T: this is a table of %v", obj, reflect.TypeFor[T]())
			}
			return cells(t, now), nil
		},
		conditions: func(runtime.Object) []metav1.TableRowCondition { return nil },
	}
}

// ConvertToTable prints object, which is of the Table's kind or a list of it.
// The options are nil or a *metav1.TableOptions.
func (t *Table) ConvertToTable(_ context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	noHeaders := false
	switch o := tableOptions.(type) {
	case nil:
	case *metav1.TableOptions:
		noHeaders = o != nil && o.NoHeaders
	default:
		return nil, fmt.Errorf("unrecognized type %T for table options, can't display tabular output", tableOptions)
	}
	rows, err := t.rows(object, time.Now())
	if err != nil {
		return nil, err
	}
	table := &metav1.Table{ListMeta: listMeta(object), Rows: rows}
	if !noHeaders {
		table.ColumnDefinitions = t.columns
	}
	return table, nil
}

// rows returns a row for each object in object, and never nil, so that an empty
// list is an empty list in JSON too.
func (t *Table) rows(object runtime.Object, now time.Time) ([]metav1.TableRow, error) {
	if !meta.IsListType(object) {
		row, err := t.row(object, now)
		if err != nil {
			return nil, err
		}
		return []metav1.TableRow{row}, nil
	}
	rows := make([]metav1.TableRow, 0, meta.LenList(object))
	err := meta.EachListItem(object, func(obj runtime.Object) error {
		row, err := t.row(obj, now)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

func (t *Table) row(obj runtime.Object, now time.Time) (metav1.TableRow, error) {
	cells, err := t.cells(obj, now)
	if err != nil {
		return metav1.TableRow{}, err
	}
	return metav1.TableRow{
		Cells:      cells,
		Conditions: t.conditions(obj),
		Object:     runtime.RawExtension{Object: obj},
	}, nil
}

// listMeta returns what a client needs to go on from object: with the next page
// of a list, or with a watch.
func listMeta(object runtime.Object) metav1.ListMeta {
	if list, err := meta.ListAccessor(object); err == nil {
		return metav1.ListMeta{
			ResourceVersion:    list.GetResourceVersion(),
			Continue:           list.GetContinue(),
			RemainingItemCount: list.GetRemainingItemCount(),
		}
	}
	if one, err := meta.CommonAccessor(object); err == nil {
		return metav1.ListMeta{ResourceVersion: one.GetResourceVersion()}
	}
	return metav1.ListMeta{}
}

// nameColumn is the column that kubectl takes the name of an object from.
func nameColumn() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{
		Name: "Name", Type: "string", Format: "name",
		Description: metav1.ObjectMeta{}.SwaggerDoc()["name"],
	}
}

func ageColumn() metav1.TableColumnDefinition {
	return column("Age", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"])
}

func column(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Description: description}
}

// wideColumn is a column that kubectl shows only with "-o wide".
func wideColumn(name, description string) metav1.TableColumnDefinition {
	c := column(name, description)
	c.Priority = 1
	return c
}

// age returns the time from then to now, as in "5m" or "3d4h".
func age(then, now time.Time) string {
	if then.IsZero() {
		return unknown
	}
	return duration.HumanDuration(now.Sub(then))
}

// or returns s, or instead if s is empty.
func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
