// Package upstream is the other side of the benchmarks: k8s.io/apiserver put
// together as kube-apiserver puts it together.
//
// What is published as a library is used as it is: the handler chain, the
// authenticators, the token cache, the audit backend, the generic registry.
// What lives in k8s.io/kubernetes, which cannot be imported, does the same work
// here in our words: the RBAC authorizer over informer listers, and the storage
// of the reviews. Where the real thing does more, this one does less, so that
// no ratio flatters us; the comments say where.
package upstream
