package api

import (
	"fmt"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/server"
)

// nameBeside has discovery name resources of groups that are served in front of
// this API, each list a group with its only version.
func (a *API) nameBeside(s *server.GenericAPIServer, lists []metav1.APIResourceList) error {
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return fmt.Errorf("naming the resources of %s: %w", list.GroupVersion, err)
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		group := metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}
		s.DiscoveryGroupManager.AddGroup(group)
		lister := discovery.APIResourceListerFunc(func() []metav1.APIResource { return list.APIResources })
		path := server.APIGroupPrefix + "/" + gv.Group
		s.Handler.NonGoRestfulMux.Handle(path, discovery.NewAPIGroupHandler(a.codecs, group))
		s.Handler.NonGoRestfulMux.Handle(path+"/"+gv.Version, discovery.NewAPIVersionHandler(a.codecs, gv, lister))
		resources, err := endpoints.ConvertGroupVersionIntoToDiscovery(list.APIResources)
		if err != nil {
			return fmt.Errorf("naming the resources of %s: %w", list.GroupVersion, err)
		}
		s.AggregatedDiscoveryGroupManager.AddGroupVersion(gv.Group, apidiscoveryv2.APIVersionDiscovery{
			Version: gv.Version, Resources: resources, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		})
	}
	return nil
}
