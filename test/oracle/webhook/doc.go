// Package webhook holds what Gatehouse makes of the answers of webhooks to what
// Kubernetes makes of them: one server gives the same generated answers to both,
// about tokens and about requests, and every verdict has to be the same, or to
// differ in a way that docs/kubernetes-divergences.md tells.
//
// It is a module of its own, so that what only an oracle needs is not in the
// module that others import.
package webhook
