package joining

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

const (
	nodes  = "/api/v1/nodes"
	leases = "/apis/coordination.k8s.io/v1/namespaces/" + corev1.NamespaceNodeLease + "/leases"
)

// leaseSeconds is how long a lease holds, and beatEvery how often it is renewed:
// a kubelet's defaults.
const (
	leaseSeconds = 40
	beatEvery    = 10 * time.Second
)

// register makes the Node, or gives one that is there the labels.
func (n *Node) register(ctx context.Context, client rest.Interface) error {
	err := client.Post().AbsPath(nodes).Body(n.object()).Do(ctx).Error()
	switch {
	case err == nil:
		n.Say("registered the Node " + n.Name)
		return nil
	case !apierrors.IsAlreadyExists(err):
		return n.unregistered(err)
	case len(n.Labels) == 0:
		n.Say("the Node " + n.Name + " is registered already")
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": n.Labels}})
	if err != nil {
		return fmt.Errorf("encoding the labels: %w", err)
	}
	if err := client.Patch(types.MergePatchType).AbsPath(nodes, n.Name).Body(patch).Do(ctx).Error(); err != nil {
		return n.unregistered(err)
	}
	n.Say("the Node " + n.Name + " was registered already, and has the labels")
	return nil
}

func (n *Node) unregistered(err error) error {
	err = fmt.Errorf("registering the Node %s: %w", n.Name, err)
	switch {
	case apierrors.IsForbidden(err):
		return hinted(err, "the server needs the mode Node, and labels of kubernetes.io are the administrator's to give")
	case apierrors.IsUnauthorized(err):
		return hinted(err, "the certificate in %s may have been taken back: remove it and join again", n.file(certificateFile))
	}
	return err
}

// object is the Node, with what a kubelet would say of the machine and can be
// said without one.
func (n *Node) object() *corev1.Node {
	labels := map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH}
	maps.Copy(labels, n.Labels)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels}}
	node.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, KubeletVersion: "gatehouse-" + n.Release}
	if host, err := os.Hostname(); err == nil {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: host}}
	}
	return node
}

// beat renews the lease of the node, or makes it.
func (n *Node) beat(ctx context.Context, client rest.Interface) error {
	var lease coordinationv1.Lease
	err := client.Get().AbsPath(leases, n.Name).Do(ctx).Into(&lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("renewing the lease: %w", err)
	}
	missing := err != nil
	seconds, now := int32(leaseSeconds), metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &n.Name, &seconds, &now
	if !missing {
		err = client.Put().AbsPath(leases, n.Name).Body(&lease).Do(ctx).Error()
	} else if err = n.own(ctx, client, &lease); err == nil {
		err = client.Post().AbsPath(leases).Body(&lease).Do(ctx).Error()
	}
	if err != nil {
		return fmt.Errorf("renewing the lease: %w", err)
	}
	return nil
}

// own names a new lease after the Node that it belongs to.
func (n *Node) own(ctx context.Context, client rest.Interface, lease *coordinationv1.Lease) error {
	var node corev1.Node
	if err := client.Get().AbsPath(nodes, n.Name).Do(ctx).Into(&node); err != nil {
		return err
	}
	lease.ObjectMeta = metav1.ObjectMeta{
		Name: n.Name, Namespace: corev1.NamespaceNodeLease,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
	}
	return nil
}

// ready tells whether the node is there, as the STATUS of kubectl get nodes.
func (n *Node) ready(ctx context.Context, client rest.Interface, is corev1.ConditionStatus, why, message string) error {
	now := metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: is, Reason: why, Message: message, LastHeartbeatTime: now, LastTransitionTime: now,
	}}}})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	if err := client.Patch(types.StrategicMergePatchType).AbsPath(nodes, n.Name, "status").Body(patch).Do(ctx).Error(); err != nil {
		return fmt.Errorf("telling that the node is ready: %w", err)
	}
	return nil
}

// stopLimit is how long telling the end may take.
const stopLimit = 5 * time.Second

// Watch keeps the node in until ctx ends: it renews the lease, and the
// certificate before it expires. It fails when there is no certificate any more
// to ask for another with.
func (n *Node) Watch(ctx context.Context) error {
	var client atomic.Pointer[rest.Interface] // is another with another certificate
	connect := func() error {
		c, err := n.client()
		client.Store(&c)
		return err
	}
	held, err := n.held()
	if err := errors.Join(err, connect()); err != nil {
		return err
	}
	if err := n.ready(ctx, *client.Load(), corev1.ConditionTrue, "Joined", "gatehouse node join keeps this node"); err != nil {
		return err
	}
	u := &upkeep{
		from: held.leaf.NotBefore, until: held.leaf.NotAfter, say: n.Say,
		beat: func(ctx context.Context) error { return n.beat(ctx, *client.Load()) },
		renew: func(ctx context.Context) (from, until time.Time, err error) {
			held, err := n.replace(ctx, *client.Load())
			if err != nil {
				return from, until, err
			}
			return held.leaf.NotBefore, held.leaf.NotAfter, connect()
		},
	}
	if err = u.run(ctx); err != nil {
		return hinted(err, "join again with a bootstrap token; %s has the old certificate", n.file(certificateFile))
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return n.ready(last, *client.Load(), corev1.ConditionFalse, "Stopped", "gatehouse node join was stopped")
}

// replace gets another certificate with the one that is in force.
func (n *Node) replace(ctx context.Context, client rest.Interface) (*certificate, error) {
	held, err := n.request(ctx, client)
	if err != nil {
		return nil, err
	}
	if err := held.write(n.file(certificateFile)); err != nil {
		return nil, err
	}
	n.Say("has a new certificate until " + held.until())
	if err := os.Remove(n.file(pendingFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return held, nil
}
