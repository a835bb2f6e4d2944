package clientgo_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	clientfeatures "k8s.io/client-go/features"
	clientfeaturestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/test/env"
)

// eight are the kinds that are followed, by resource.
var eight = []struct {
	resource   schema.GroupVersionResource
	kind       string
	namespaced bool
}{
	{corev1.SchemeGroupVersion.WithResource("namespaces"), "Namespace", false},
	{corev1.SchemeGroupVersion.WithResource("secrets"), "Secret", true},
	{corev1.SchemeGroupVersion.WithResource("configmaps"), "ConfigMap", true},
	{corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "ServiceAccount", true},
	{corev1.SchemeGroupVersion.WithResource("nodes"), "Node", false},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, "Role", true},
	{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "ClusterRole", false},
	{schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "Lease", true},
}

// TestInformers follows eight kinds at once, with and without streaming lists,
// through cut connections and a server that was killed.
func TestInformers(t *testing.T) {
	for _, streaming := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming=%v", streaming), func(t *testing.T) {
			clientfeaturestesting.SetFeatureDuringTest(t, clientfeatures.WatchListClient, streaming)
			w := newWorld(t)
			ns := w.namespace(t)
			writer := must[*dynamic.DynamicClient](t)(dynamic.NewForConfig(w.admin))
			write(t, writer, ns, "before")

			wire, seen := &cuttable{}, &asked{}
			config := rest.CopyConfig(w.admin)
			config.ContentType = asProtobuf
			config.Dial = wire.dial
			config.Wrap(seen.wrap)
			f := follow(t, config)
			f.wantSame(t, writer, "before-"+ns)
			seen.want(t, streaming)

			write(t, writer, ns, "live")
			f.wantSame(t, writer, "live-"+ns)

			if wire.cut() == 0 {
				t.Error("the informers have no connection to cut")
			}
			remove(t, writer, ns, "before")
			write(t, writer, ns, "after-cut")
			f.wantSame(t, writer, "after-cut-"+ns)

			// A new process has none of the history that the old one had.
			w.Kill()
			w.Restart()
			remove(t, writer, ns, "live")
			write(t, writer, ns, "after-kill")
			f.wantSame(t, writer, "after-kill-"+ns)
		})
	}
}

// A cuttable is a network whose connections can be cut.
type cuttable struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cuttable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// cut ends all connections and returns how many there were.
func (c *cuttable) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.conns)
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
	return n
}

// A roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// asked is how informers asked for their first lists.
type asked struct{ lists, streams atomic.Int32 }

func (a *asked) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		switch query := r.URL.Query(); {
		case query.Get("sendInitialEvents") == "true":
			a.streams.Add(1)
		case query.Get("watch") != "true":
			a.lists.Add(1)
		}
		return next.RoundTrip(r)
	})
}

// want expects that no informer had to fall back to the other way.
func (a *asked) want(t *testing.T, streaming bool) {
	t.Helper()
	lists, streams := int(a.lists.Load()), int(a.streams.Load())
	if streaming && (lists != 0 || streams < len(eight)) || !streaming && (lists < len(eight) || streams != 0) {
		t.Errorf("the informers made %d lists and %d streaming lists", lists, streams)
	}
}

// A following is what informers know.
type following map[schema.GroupVersionResource]cache.SharedIndexInformer

// follow starts informers on the eight kinds, and waits until they know what
// there is.
func follow(t *testing.T, config *rest.Config) following {
	t.Helper()
	factory := informers.NewSharedInformerFactory(must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config)), 0)
	f := following{}
	for _, e := range eight {
		f[e.resource] = must[informers.GenericInformer](t)(factory.ForResource(e.resource)).Informer()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		stop()
		factory.Shutdown()
	})
	factory.StartWithContext(ctx)
	for resource, informer := range f {
		env.Eventually(t, "the first list of "+resource.Resource, informer.HasSynced)
	}
	return f
}

// wantSame waits until the informers know what the server has, and expects an
// object of each kind with the given name among it.
func (f following) wantSame(t *testing.T, client dynamic.Interface, name string) {
	t.Helper()
	for resource, informer := range f {
		var known map[string]string
		env.Eventually(t, "informer of "+resource.Resource+": "+name, func() bool {
			known = map[string]string{}
			for _, obj := range informer.GetStore().List() {
				note(t, known, obj)
			}
			real := map[string]string{}
			list := must[*unstructured.UnstructuredList](t)(client.Resource(resource).List(t.Context(), metav1.ListOptions{}))
			for i := range list.Items {
				note(t, real, &list.Items[i])
			}
			return maps.Equal(known, real)
		})
		found := false
		for key := range known {
			found = found || strings.HasSuffix(key, "/"+name)
		}
		if !found {
			t.Errorf("%s named %s are in neither list", resource.Resource, name)
		}
	}
}

// note writes down which version of an object there is.
func note(t *testing.T, versions map[string]string, obj any) {
	t.Helper()
	m := must[metav1.Object](t)(meta.Accessor(obj))
	versions[m.GetNamespace()+"/"+m.GetName()] = m.GetResourceVersion()
}

// write creates an object of each of the eight kinds, and changes it.
func write(t *testing.T, client dynamic.Interface, ns, stage string) {
	t.Helper()
	for _, e := range eight {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(e.resource.GroupVersion().WithKind(e.kind))
		obj.SetName(stage + "-" + ns)
		c := resourceIn(client, e.resource, e.namespaced, ns)
		if _, err := c.Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
			t.Fatalf("creating %s: %v", e.kind, err)
		}
		patch := []byte(`{"metadata":{"labels":{"stage":"` + stage + `"}}}`)
		if _, err := c.Patch(t.Context(), obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatalf("patching %s: %v", e.kind, err)
		}
	}
}

// remove deletes what write created.
func remove(t *testing.T, client dynamic.Interface, ns, stage string) {
	t.Helper()
	for _, e := range eight {
		if err := resourceIn(client, e.resource, e.namespaced, ns).Delete(t.Context(), stage+"-"+ns, metav1.DeleteOptions{}); err != nil {
			t.Fatalf("deleting %s: %v", e.kind, err)
		}
	}
}

// resourceIn returns the client of a resource, in a namespace if it has them.
func resourceIn(client dynamic.Interface, r schema.GroupVersionResource, namespaced bool, ns string) dynamic.ResourceInterface {
	if namespaced {
		return client.Resource(r).Namespace(ns)
	}
	return client.Resource(r)
}
