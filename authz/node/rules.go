package node

import (
	"slices"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"

	"gatehouse.dev/gatehouse/authz"
)

// A question is what a node asks for. Its methods are the rules for one resource
// each (k8s.io/kubernetes plugin/pkg/auth/authorizer/node/node_authorizer.go), and
// all of them may only be asked about a resource.
type question struct {
	index *Index
	node  string
	*authz.Attributes
}

// leaseNamespace is where nodes keep their leases.
const leaseNamespace = "kube-node-lease"

func allow() authz.Answer { return authz.Answer{Verdict: authz.Allow} }

// no is no opinion, and why.
func no(why authz.Text) authz.Answer { return authz.Answer{Why: why} }

// answer finds the rules for the resource.
func (q *question) answer() authz.Answer {
	switch q.APIGroup {
	case "":
		return q.core()
	case "coordination.k8s.io":
		if q.Resource == "leases" {
			return q.lease()
		}
	case "certificates.k8s.io":
		if q.Resource == "podcertificaterequests" {
			return q.podCertificate()
		}
	case "resource.k8s.io":
		switch q.Resource {
		case "resourceclaims":
			return q.get(ResourceClaim)
		case "resourceslices":
			return q.slice()
		}
	case "storage.k8s.io":
		switch q.Resource {
		case "csinodes":
			return q.csiNode()
		case "volumeattachments":
			return q.get(absent)
		}
	}
	return q.common()
}

// core is the rules for the resources of the core group.
func (q *question) core() authz.Answer {
	switch q.Resource {
	case "secrets":
		return q.read(Secret)
	case "configmaps":
		return q.read(ConfigMap)
	case "serviceaccounts":
		if q.Verb == "get" && q.Subresource == "" {
			return q.read(ServiceAccount)
		}
		return q.token()
	case "pods":
		return q.pod()
	case "nodes":
		return q.ownNode()
	case "persistentvolumeclaims":
		if q.Subresource == "status" {
			return q.claimStatus()
		}
		return q.get(Claim)
	case "persistentvolumes":
		return q.get(absent)
	}
	return q.common()
}

// absent is every kind that no pod refers to directly. What would lead to it is
// not known to an [Index], so that nothing of the kind is related to a node.
const absent Kind = 255

// A resource is one of a group.
type resource struct{ group, name string }

// common is what all nodes may do alike.
func (q *question) common() authz.Answer {
	if q.Subresource != "" {
		return authz.Answer{}
	}
	switch (resource{q.APIGroup, q.Resource}) {
	case resource{"authentication.k8s.io", "tokenreviews"}, resource{"authorization.k8s.io", "subjectaccessreviews"},
		resource{"authorization.k8s.io", "localsubjectaccessreviews"}:
		return q.oneOf("create")
	case resource{"", "events"}, resource{"events.k8s.io", "events"}:
		return q.oneOf("create", "update", "patch")
	case resource{"certificates.k8s.io", "certificatesigningrequests"}:
		return q.oneOf("create", "get", "list", "watch")
	case resource{"", "services"}, resource{"storage.k8s.io", "csidrivers"}, resource{"node.k8s.io", "runtimeclasses"},
		resource{"certificates.k8s.io", "clustertrustbundles"}:
		return q.oneOf("get", "list", "watch")
	case resource{"", "endpoints"}:
		return q.oneOf("get")
	}
	return authz.Answer{}
}

// oneOf allows the verbs, without a reason for the others.
func (q *question) oneOf(verbs ...string) authz.Answer {
	if slices.Contains(verbs, q.Verb) {
		return allow()
	}
	return authz.Answer{}
}

// related allows what a pod of the node refers to.
func (q *question) related(kind Kind) authz.Answer {
	if q.Name == "" {
		return no("No Object name found")
	}
	if !q.index.has(pair{q.node, kind, q.Namespace, q.Name}) {
		return authz.Answer{Why: unrelated(q.node)}
	}
	return allow()
}

// get allows to get what a pod of the node refers to.
func (q *question) get(kind Kind) authz.Answer {
	switch {
	case q.Verb != "get":
		return no("can only get individual resources of this type")
	case q.Subresource != "":
		return no("cannot get subresource")
	}
	return q.related(kind)
}

// read allows to get, list and watch one object that a pod of the node refers to.
func (q *question) read(kind Kind) authz.Answer {
	switch {
	case q.Verb != "get" && q.Verb != "list" && q.Verb != "watch":
		return no("can only read resources of this type")
	case q.Subresource != "":
		return no("cannot read subresource")
	case q.Namespace == "":
		return no("can only read namespaced object of this type")
	}
	return q.related(kind)
}

func (q *question) claimStatus() authz.Answer {
	if q.Verb != "update" && q.Verb != "patch" {
		return no("can only get/update/patch this type")
	}
	return q.related(Claim)
}

// token allows a token of a service account that a pod of the node runs as.
func (q *question) token() authz.Answer {
	switch {
	case q.Verb != "create" || q.Name == "":
		return no("can only create tokens for individual service accounts")
	case q.Subresource != "token":
		return no("can only create token subresource of serviceaccount")
	}
	return q.related(ServiceAccount)
}

// lease allows the node's own lease. Its name is not known when it is created.
func (q *question) lease() authz.Answer {
	switch {
	case !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, q.Verb):
		return no("can only get, create, update, patch, or delete a node lease")
	case q.Namespace != leaseNamespace:
		return no(`can only access leases in the "` + leaseNamespace + `" system namespace`)
	case q.Verb != "create" && q.Name != q.node:
		return no("can only access node lease with the same name as the requesting node")
	}
	return allow()
}

// csiNode allows the node's own CSINode. Its name is not known when it is created.
func (q *question) csiNode() authz.Answer {
	switch {
	case q.Subresource == "status":
		return no("CSINode status access requires CSIVolumeHealth feature")
	case q.Subresource != "":
		return no("cannot authorize CSINode subresources")
	case !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, q.Verb):
		return no("can only get, create, update, patch, or delete a CSINode")
	case q.Verb != "create" && q.Name != q.node:
		return no("can only access CSINode with the same name as the requesting node")
	}
	return allow()
}

func (q *question) slice() authz.Answer {
	if q.Subresource != "" {
		return no("cannot authorize ResourceSlice subresources")
	}
	switch q.Verb {
	case "create":
		return allow()
	case "get", "update", "patch", "delete":
		return q.related(absent)
	case "list", "watch", "deletecollection":
		if q.selectsOwn() {
			return allow()
		}
		return no("can only list/watch/deletecollection resourceslices with nodeName field selector")
	}
	return no("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection")
}

func (q *question) podCertificate() authz.Answer {
	if q.Subresource != "" {
		return no("nodes may not access the status subresource of PodCertificateRequests")
	}
	switch q.Verb {
	case "create":
		return allow()
	case "get":
		return q.related(absent)
	case "list", "watch":
		if q.selectsOwn() {
			return allow()
		}
		return no("can only list/watch podcertificaterequests with nodeName field selector")
	}
	return no(authz.Text("nodes may not " + q.Verb + " podcertificaterequests"))
}

// ownNode allows to read the Node of that name, and to write; whose Node it is
// that is written is for admission to see. The name counts and not the object, so
// that a node can look for its Node before there is one.
func (q *question) ownNode() authz.Answer {
	switch q.Subresource {
	case "":
		switch q.Verb {
		case "create", "update", "patch":
			return allow()
		case "get", "list", "watch":
			if q.Name == q.node {
				return allow()
			}
			return authz.Answer{Why: others{q.node, q.Name}}
		}
	case "status":
		return q.oneOf("update", "patch")
	}
	return authz.Answer{}
}

// pod allows to read the pods of the node, and to write; whose pods they are that
// are written is for admission to see.
func (q *question) pod() authz.Answer {
	switch q.Subresource {
	case "":
		switch q.Verb {
		case "get":
			return q.related(Pod)
		case "list", "watch":
			if q.selectsOwn() {
				return allow()
			}
			if q.Name != "" {
				return q.related(Pod)
			}
			return no("can only list/watch pods with spec.nodeName field selector")
		case "create", "delete":
			return allow()
		}
	case "status":
		return q.oneOf("update", "patch")
	case "eviction":
		return q.oneOf("create")
	}
	return authz.Answer{}
}

// selectsOwn reports whether the field selector leaves only what has the name of
// the node in spec.nodeName.
func (q *question) selectsOwn() bool {
	selector, err := fields.ParseSelector(q.FieldSelector)
	if err != nil {
		return false
	}
	for _, r := range selector.Requirements() {
		if r.Field == "spec.nodeName" && r.Operator == selection.Equals && r.Value == q.node {
			return true
		}
	}
	return false
}
