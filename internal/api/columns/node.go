package columns

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels that say what a node is for: the role is the end of the key of the
// first, and the value of the second.
const (
	nodeRolePrefix = "node-role.kubernetes.io/"
	nodeRoleLabel  = "kubernetes.io/role"
)

// Node returns the Table of Nodes.
func Node() *Table {
	status, info := corev1.NodeStatus{}.SwaggerDoc(), corev1.NodeSystemInfo{}.SwaggerDoc()
	return New([]metav1.TableColumnDefinition{
		nameColumn(),
		column("Status", "The status of the node"),
		column("Roles", "The roles of the node"),
		ageColumn(),
		column("Version", info["kubeletVersion"]),
		wideColumn("Internal-IP", status["addresses"]),
		wideColumn("External-IP", status["addresses"]),
		wideColumn("OS-Image", info["osImage"]),
		wideColumn("Kernel-Version", info["kernelVersion"]),
		wideColumn("Container-Runtime", info["containerRuntimeVersion"]),
	}, nodeCells)
}

func nodeCells(n *corev1.Node, now time.Time) []any {
	info := n.Status.NodeInfo
	kernel := or(info.KernelVersion, unknown)
	if info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		n.Name,
		nodeStatus(n),
		or(strings.Join(nodeRoles(n), ","), none),
		age(n.CreationTimestamp.Time, now),
		info.KubeletVersion,
		nodeAddress(n, corev1.NodeInternalIP),
		nodeAddress(n, corev1.NodeExternalIP),
		or(info.OSImage, unknown),
		kernel,
		or(info.ContainerRuntimeVersion, unknown),
	}
}

// nodeStatus returns "Ready", "NotReady" or "Unknown", and whether pods are
// kept away.
func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type != corev1.NodeReady:
		case c.Status == corev1.ConditionTrue:
			status = "Ready"
		default:
			status = "NotReady"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// nodeRoles returns the roles that the labels of n give it, sorted.
func nodeRoles(n *corev1.Node) []string {
	roles := map[string]bool{}
	for key, value := range n.Labels {
		role, ok := strings.CutPrefix(key, nodeRolePrefix)
		switch {
		case ok:
			roles[role] = true
		case key == nodeRoleLabel:
			roles[value] = true
		}
	}
	delete(roles, "")
	return slices.Sorted(maps.Keys(roles))
}

// nodeAddress returns the first address of n that is of the type.
func nodeAddress(n *corev1.Node, of corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == of {
			return a.Address
		}
	}
	return none
}
