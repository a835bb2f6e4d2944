// Package delegation puts Gatehouse behind API servers that ask somebody else
// who their callers are and what they may do: with the delegating authenticator
// and authorizer that k8s.io/apiserver publishes, as every extension API server
// has them, and with its two webhooks, as kube-apiserver itself has them, by the
// flags and files that gatehouse webhook config makes.
package delegation
