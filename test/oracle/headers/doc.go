// Package headers holds what Gatehouse reads from headers to what Kubernetes
// reads from them: the same configuration and the same generated requests go to
// both, and every answer has to be the same, or to differ in a way that
// docs/kubernetes-divergences.md tells.
//
// It is a module of its own, so that what only an oracle needs is not in the
// module that others import.
package headers
