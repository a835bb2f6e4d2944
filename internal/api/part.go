package api

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// part is a subresource that is a part of its object, such as /status: it can
// be read and updated, and nothing else.
type part struct{ store *registry.Store }

var (
	_ rest.Getter              = &part{}
	_ rest.Updater             = &part{}
	_ rest.Patcher             = &part{}
	_ rest.ResetFieldsStrategy = &part{}
	_ rest.TableConvertor      = &part{}
)

func (p *part) New() runtime.Object { return p.store.New() }

// Destroy does nothing: the store belongs to the resource itself.
func (p *part) Destroy() {}

func (p *part) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return p.store.Get(ctx, name, options)
}

func (p *part) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return p.store.GetResetFields()
}

func (p *part) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return p.store.ConvertToTable(ctx, obj, options)
}
