package node

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// A Kind is a kind of object that a node may read because of its pods.
type Kind uint8

// All kinds.
const (
	Pod Kind = iota
	Secret
	ConfigMap
	ServiceAccount
	// Claim is a PersistentVolumeClaim.
	Claim
	ResourceClaim
)

// An Index is what each node may read, by the pods that run on it. It is an
// [authz.Authorizer] and an [authz.RuleLister]. Make one with [New].
type Index struct {
	// related has a *relation for each pair of a node and an object.
	related sync.Map
	// mu keeps writers apart, and guards pods and the counts of relations.
	mu   sync.Mutex
	pods map[podKey]*entry
}

// A relation is that pods on a node refer to an object.
type relation struct{ pods int }

// A pair is a node and an object: the key of a relation.
type pair struct {
	node            string
	kind            Kind
	namespace, name string
}

type podKey struct{ namespace, name string }

// An entry is what a pod makes its node related to, itself included.
type entry struct{ pairs []pair }

// New returns an index without pods.
func New() *Index { return &Index{pods: map[podKey]*entry{}} }

// SetPod adds or changes a pod. It is in force when SetPod returns, and what the
// pod refers to before and after is so at every moment in between.
func (x *Index) SetPod(pod *corev1.Pod) {
	key, next := podKey{pod.Namespace, pod.Name}, &entry{pairsOf(pod)}
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.pods[key]
	if old != nil && slices.Equal(old.pairs, next.pairs) {
		return
	}
	for _, p := range next.pairs {
		x.relate(p)
	}
	x.release(old)
	if len(next.pairs) == 0 {
		delete(x.pods, key)
		return
	}
	x.pods[key] = next
}

// DeletePod deletes a pod, or does nothing if there is none.
func (x *Index) DeletePod(namespace, name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := podKey{namespace, name}
	x.release(x.pods[key])
	delete(x.pods, key)
}

// relate counts one more pod for a pair.
func (x *Index) relate(p pair) {
	found, ok := x.related.Load(p)
	if !ok {
		found = &relation{}
		defer x.related.Store(p, found)
	}
	found.(*relation).pods++
}

// release counts one pod less for each pair of an entry, which may be nil.
func (x *Index) release(e *entry) {
	if e == nil {
		return
	}
	for _, p := range e.pairs {
		found, _ := x.related.Load(p)
		r := found.(*relation)
		if r.pods--; r.pods == 0 {
			x.related.Delete(p)
		}
	}
}

// has reports whether pods on a node refer to an object.
func (x *Index) has(p pair) bool {
	_, ok := x.related.Load(p)
	return ok
}

// pairsOf returns what a pod makes its node related to, each once. There is
// nothing for a pod that has no node yet, and only itself for a mirror pod: a
// node must not get at anything by making a pod.
func pairsOf(pod *corev1.Pod) []pair {
	node := pod.Spec.NodeName
	if node == "" {
		return nil
	}
	pairs := []pair{{node, Pod, pod.Namespace, pod.Name}}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return pairs
	}
	for kind, name := range References(pod) {
		pairs = append(pairs, pair{node, kind, pod.Namespace, name})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	return slices.Compact(pairs)
}
