// Package requests holds whom Gatehouse sees in a request to whom Kubernetes
// sees in it: the same configuration and the same generated headers, client
// certificates, token files and answers of webhooks go to both, and every answer
// has to be the same, or to differ in a way that docs/kubernetes-divergences.md
// tells.
//
// It is a module of its own, so that what only an oracle needs is not in the
// module that others import.
package requests
