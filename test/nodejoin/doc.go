// Package nodejoin lets nodes join a Gatehouse: a kubelet's way, with the
// certificate manager and the lease controller that the kubelet is built on
// (k8s.io/client-go/util/certificate, k8s.io/component-helpers) and its calls in
// its order, and the way of gatehouse node join.
package nodejoin
