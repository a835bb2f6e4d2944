// Package bootstrap holds bootstrap tokens to Kubernetes: k8s.io/cluster-bootstrap,
// which kubeadm and the control plane use, reads the same Secrets, judges the
// same tokens, and verifies what cluster-info says; and a client that makes the
// calls of kubeadm joins a server.
//
// It is a module of its own, so that what only an oracle needs is not in the
// module that others import.
package bootstrap
