package audit

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// attributes are the facts of a request that a policy is asked about. They are
// read where they are: upstream's record copies them and parses selectors,
// which no audit rule looks at, and that for every request.
type attributes struct {
	info   *request.RequestInfo
	caller user.Info
}

var _ authorizer.Attributes = (*attributes)(nil)

func (a *attributes) GetUser() user.Info      { return a.caller }
func (a *attributes) GetVerb() string         { return a.info.Verb }
func (a *attributes) IsReadOnly() bool        { return readOnly(a.info.Verb) }
func (a *attributes) GetNamespace() string    { return a.info.Namespace }
func (a *attributes) GetResource() string     { return a.info.Resource }
func (a *attributes) GetSubresource() string  { return a.info.Subresource }
func (a *attributes) GetName() string         { return a.info.Name }
func (a *attributes) GetAPIGroup() string     { return a.info.APIGroup }
func (a *attributes) GetAPIVersion() string   { return a.info.APIVersion }
func (a *attributes) IsResourceRequest() bool { return a.info.IsResourceRequest }
func (a *attributes) GetPath() string         { return a.info.Path }

func (a *attributes) GetFieldSelector() (fields.Requirements, error) { return nil, nil }
func (a *attributes) GetLabelSelector() (labels.Requirements, error) { return nil, nil }

func readOnly(verb string) bool {
	return verb == "get" || verb == "list" || verb == "watch"
}
