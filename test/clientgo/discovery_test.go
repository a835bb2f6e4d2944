package clientgo_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// served are the resources of the server by group version, with their kinds and
// verbs.
var served = map[string]map[string]string{
	"gatehouse.dev/v1alpha1": {
		"credentials": "Credential get list", "explanations": "Explanation create get",
		"revocations": "Revocation create delete deletecollection get list patch update watch",
	},
	"v1": {
		"configmaps":            "ConfigMap create delete deletecollection get list patch update watch",
		"events":                "Event create delete deletecollection get list patch update watch",
		"namespaces":            "Namespace create delete get list patch update watch",
		"namespaces/finalize":   "Namespace update",
		"namespaces/status":     "Namespace get patch update",
		"nodes":                 "Node create delete deletecollection get list patch update watch",
		"nodes/status":          "Node get patch update",
		"pods":                  "Pod create delete deletecollection get list patch update watch",
		"pods/attach":           "PodAttachOptions create get",
		"pods/exec":             "PodExecOptions create get",
		"pods/log":              "Pod get",
		"pods/portforward":      "PodPortForwardOptions create get",
		"pods/proxy":            "PodProxyOptions create delete get patch update",
		"pods/status":           "Pod get patch update",
		"secrets":               "Secret create delete deletecollection get list patch update watch",
		"serviceaccounts":       "ServiceAccount create delete deletecollection get list patch update watch",
		"serviceaccounts/token": "TokenRequest create",
	},
	"authentication.k8s.io/v1": {
		"selfsubjectreviews": "SelfSubjectReview create", "tokenreviews": "TokenReview create",
	},
	"authorization.k8s.io/v1": {
		"localsubjectaccessreviews": "LocalSubjectAccessReview create", "selfsubjectaccessreviews": "SelfSubjectAccessReview create",
		"selfsubjectrulesreviews": "SelfSubjectRulesReview create", "subjectaccessreviews": "SubjectAccessReview create",
	},
	"certificates.k8s.io/v1": {
		"certificatesigningrequests":          "CertificateSigningRequest create delete deletecollection get list patch update watch",
		"certificatesigningrequests/approval": "CertificateSigningRequest get patch update",
		"certificatesigningrequests/status":   "CertificateSigningRequest get patch update",
		"clustertrustbundles":                 "ClusterTrustBundle create delete deletecollection get list patch update watch",
	},
	"coordination.k8s.io/v1": {"leases": "Lease create delete deletecollection get list patch update watch"},
	"rbac.authorization.k8s.io/v1": {
		"clusterrolebindings": "ClusterRoleBinding create delete deletecollection get list patch update watch",
		"clusterroles":        "ClusterRole create delete deletecollection get list patch update watch",
		"rolebindings":        "RoleBinding create delete deletecollection get list patch update watch",
		"roles":               "Role create delete deletecollection get list patch update watch",
	},
}

// testDiscovery reads what there is, in the new form and in the old one.
func testDiscovery(t *testing.T, w *world) {
	for name, legacy := range map[string]bool{"aggregated": false, "legacy": true} {
		t.Run(name, func(t *testing.T) {
			client := must[*discovery.DiscoveryClient](t)(discovery.NewDiscoveryClientForConfig(w.admin))
			client.UseLegacyDiscovery = legacy
			groups, lists, err := client.ServerGroupsAndResources()
			if err != nil {
				t.Fatal(err)
			}
			if len(groups) != len(served) || groups[0].Name != "" {
				t.Errorf("%d groups, the first is %q", len(groups), groups[0].Name)
			}
			for _, list := range lists {
				var got, want []string
				for _, r := range list.APIResources {
					sort.Strings(r.Verbs)
					got = append(got, r.Name+": "+r.Kind+" "+strings.Join(r.Verbs, " "))
				}
				for name, facts := range served[list.GroupVersion] {
					want = append(want, name+": "+facts)
				}
				sort.Strings(got)
				sort.Strings(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s:\ngot    %s\nwanted %s", list.GroupVersion, strings.Join(got, "\n       "), strings.Join(want, "\n       "))
				}
			}
		})
	}
	t.Run("index", func(t *testing.T) {
		index := decode[metav1.RootPaths](t, w.send(t, "GET", "/", ""))
		for _, path := range index.Paths {
			if path != "/metrics" { // says nothing that could be wrong, at length
				wantAnswer(t, w.send(t, "GET", path, ""), 200)
			}
		}
		for _, path := range []string{"/api/v1", "/livez/ping", "/metrics", "/readyz", "/version"} {
			if !slices.Contains(index.Paths, path) {
				t.Errorf("%s is not in %v", path, index.Paths)
			}
		}
	})
	t.Run("short names", func(t *testing.T) {
		lists := decode[metav1.APIResourceList](t, w.send(t, "GET", "/api/v1", ""))
		short := map[string]string{}
		for _, r := range lists.APIResources {
			if len(r.ShortNames) > 0 {
				short[r.Name] = r.ShortNames[0] + "/" + r.SingularName
			}
		}
		want := map[string]string{
			"configmaps": "cm/configmap", "events": "ev/event", "namespaces": "ns/namespace", "nodes": "no/node",
			"pods": "po/pod", "serviceaccounts": "sa/serviceaccount",
		}
		if fmt.Sprint(short) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", short, want)
		}
	})
	t.Run("unchanged", func(t *testing.T) {
		const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
		a := w.send(t, "GET", "/apis", "", "Accept", accept)
		list := decode[apidiscovery.APIGroupDiscoveryList](t, a)
		if len(list.Items) != len(served)-1 || a.header.Get("Etag") == "" || !strings.Contains(a.header.Get("Content-Type"), "as=APIGroupDiscoveryList") {
			t.Errorf("%d groups, headers %v", len(list.Items), a.header)
		}
		wantAnswer(t, w.send(t, "GET", "/apis", "", "Accept", accept, "If-None-Match", a.header.Get("Etag")), 304)
	})
	t.Run("version", func(t *testing.T) {
		client := must[*discovery.DiscoveryClient](t)(discovery.NewDiscoveryClientForConfig(w.admin))
		info, err := client.ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		v, err := version.ParseSemantic(info.GitVersion)
		if err != nil || v.Major() != 1 || fmt.Sprint(v.Minor()) != info.Minor || info.Major != "1" || !strings.Contains(info.GitVersion, "gatehouse") {
			t.Errorf("%v: %+v", err, info)
		}
	})
}

// testOpenAPI reads both documents, and finds every kind in them.
func testOpenAPI(t *testing.T, w *world) {
	kinds := map[schema.GroupVersionKind]bool{}
	for gv, resources := range served {
		parsed := must[schema.GroupVersion](t)(schema.ParseGroupVersion(gv))
		for name, facts := range resources {
			kind, _, _ := strings.Cut(facts, " ")
			switch {
			case strings.HasSuffix(kind, "Options"): // parameters, not a body
			case name == "serviceaccounts/token":
				kinds[schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: kind}] = true
			default:
				kinds[parsed.WithKind(kind)] = true
			}
		}
	}
	t.Run("v2", func(t *testing.T) {
		client := must[*discovery.DiscoveryClient](t)(discovery.NewDiscoveryClientForConfig(w.admin))
		if _, err := client.OpenAPISchema(); err != nil {
			t.Fatal(err)
		}
		a := w.send(t, "GET", "/openapi/v2", "")
		document := decode[spec.Swagger](t, a)
		if document.Swagger != "2.0" || len(document.Paths.Paths) == 0 {
			t.Fatalf("swagger %q with %d paths", document.Swagger, len(document.Paths.Paths))
		}
		schemas := map[string]*spec.Schema{}
		for name, schema := range document.Definitions {
			schemas[name] = &schema
		}
		wantDefined(t, kinds, schemas)
		wantResolved(t, a.body, "#/definitions/", schemas)
	})
	t.Run("v3", func(t *testing.T) {
		client := must[*discovery.DiscoveryClient](t)(discovery.NewDiscoveryClientForConfig(w.admin)).OpenAPIV3()
		paths, err := client.Paths()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]*spec.Schema{}
		for gv := range served {
			path := "apis/" + gv
			if gv == "v1" {
				path = "api/v1"
			}
			if paths[path] == nil {
				t.Errorf("%s has no document", path)
				continue
			}
			text := must[[]byte](t)(paths[path].Schema(asJSON))
			var document spec3.OpenAPI
			if err := json.Unmarshal(text, &document); err != nil || document.Version != "3.0.0" || len(document.Paths.Paths) == 0 {
				t.Errorf("%s: %v, openapi %q", path, err, document.Version)
				continue
			}
			wantResolved(t, string(text), "#/components/schemas/", document.Components.Schemas)
			if strings.Contains(string(text), "__internal") {
				t.Errorf("%s tells of the version inside", path)
			}
			maps.Copy(all, document.Components.Schemas)
		}
		wantDefined(t, kinds, all)
	})
}

// wantDefined expects each kind to have one definition that says what it is,
// and describes it for kubectl explain.
func wantDefined(t *testing.T, kinds map[schema.GroupVersionKind]bool, definitions map[string]*spec.Schema) {
	t.Helper()
	found := map[schema.GroupVersionKind]string{}
	for name, d := range definitions {
		var says []schema.GroupVersionKind
		if err := d.Extensions.GetObject("x-kubernetes-group-version-kind", &says); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, gvk := range says {
			if kinds[gvk] && found[gvk] != "" {
				t.Errorf("%v is both %s and %s", gvk, found[gvk], name)
			}
			found[gvk] = name
			if kinds[gvk] && d.Description == "" {
				t.Errorf("%s has no description", name)
			}
		}
	}
	for gvk := range kinds {
		begin := "io.k8s.api."
		if gvk.Group == "gatehouse.dev" {
			begin = "dev.gatehouse."
		}
		if name := found[gvk]; !strings.HasPrefix(name, begin) || !strings.HasSuffix(name, "."+gvk.Kind) {
			t.Errorf("%v is defined as %q", gvk, name)
		}
	}
}

// wantResolved expects everything that a document refers to, to be in it.
func wantResolved(t *testing.T, document, prefix string, definitions map[string]*spec.Schema) {
	t.Helper()
	n := 0
	for _, rest := range strings.Split(document, `"$ref":"`)[1:] {
		ref, _, _ := strings.Cut(rest, `"`)
		name, ok := strings.CutPrefix(ref, prefix)
		if !ok && strings.HasPrefix(ref, "#/parameters/") {
			continue
		}
		if n++; definitions[name] == nil {
			t.Errorf("%s is not in the document", ref)
		}
	}
	if n == 0 {
		t.Error("nothing in the document refers to anything")
	}
}

// testHealth asks how the server is.
func testHealth(t *testing.T, w *world) {
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		wantAnswer(t, w.send(t, "GET", path, ""), 200, "ok")
		wantAnswer(t, w.send(t, "GET", path+"?verbose", ""), 200, "[+]ping ok\n", strings.TrimPrefix(path, "/")+" check passed\n")
		wantAnswer(t, w.send(t, "GET", path+"?verbose&exclude=ping", ""), 200, "[+]ping excluded: ok\n")
		wantAnswer(t, w.send(t, "GET", path+"?verbose&exclude=nothing", ""), 200, `warn: some health checks cannot be excluded: no matches for "nothing"`)
		wantAnswer(t, w.send(t, "GET", path+"/ping", ""), 200, "ok")
		wantAnswer(t, w.send(t, "GET", path+"/nothing", ""), 404)
	}
	wantAnswer(t, w.send(t, "GET", "/readyz?verbose", ""), 200, "[+]etcd ok\n", "[+]informer-sync ok\n", "[+]shutdown ok\n")
}
