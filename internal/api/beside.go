package api

import (
	"fmt"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/server"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

// nameBeside has discovery name resources that are served in front of this API:
// those of our own group, among which are the stored ones that this API serves.
// The library names the latter by itself, and cannot be told of others; so the
// list of the group is answered in front of it.
func (a *API) nameBeside(s *server.GenericAPIServer, lists []metav1.APIResourceList, stored []metav1.APIResource) error {
	ours, all := v1alpha1.GroupVersion(), stored
	for _, list := range lists {
		if list.GroupVersion != ours.String() {
			return fmt.Errorf("naming the resources of %s: only those of %s are served beside this API", list.GroupVersion, ours)
		}
		all = append(all, list.APIResources...)
	}
	// It fills in the scope and such, which a list leaves open.
	resources, err := endpoints.ConvertGroupVersionIntoToDiscovery(all)
	if err != nil {
		return fmt.Errorf("naming the resources of %s: %w", ours, err)
	}
	s.AggregatedDiscoveryGroupManager.AddGroupVersion(ours.Group, apidiscoveryv2.APIVersionDiscovery{
		Version: ours.Version, Resources: resources, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
	})
	lister := discovery.APIResourceListerFunc(func() []metav1.APIResource { return all })
	a.handler = nameResources(ours, discovery.NewAPIVersionHandler(a.codecs, ours, lister), a.handler)
	return nil
}

// nameResources returns next with the list of the resources of a group answered
// before it.
func nameResources(gv schema.GroupVersion, list, next http.Handler) http.Handler {
	path := server.APIGroupPrefix + "/" + gv.Group + "/" + gv.Version
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && (r.URL.Path == path || r.URL.Path == path+"/") {
			list.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
