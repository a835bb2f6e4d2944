package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/node"
	"gatehouse.dev/gatehouse/bench/measure"
	"gatehouse.dev/gatehouse/identity"
)

// podsPerNode is how many pods run on each node.
const podsPerNode = 30

// nodeDecisions measures one decision about a node among few and many, and what a
// pod that comes and goes costs. Upstream's authorizer is in no published module.
func nodeDecisions(t *measure.Table) error {
	t.Section("One decision about a node, of 30 pods each")
	for _, n := range []int{10, 1000, 5000} {
		index := node.New()
		for i := range n {
			for j := range podsPerNode {
				index.SetPod(podOf(i, j))
			}
		}
		for _, tt := range []struct {
			name, secret string
			target       time.Duration
			want         authz.Verdict
		}{
			{"allowed", "secret-7-3", allowedTarget, authz.Allow},
			{"of another node", "secret-8-3", deniedTarget, authz.NoOpinion},
		} {
			a := authz.Attributes{
				User: &identity.Identity{Name: "system:node:node-7", Groups: []string{"system:nodes", "system:authenticated"}},
				Verb: "get", IsResource: true, APIVersion: "v1", Resource: "secrets", Namespace: "ns", Name: tt.secret,
			}
			wrong := 0
			took := measure.One(func(n int) {
				for range n {
					if answer, _ := index.Authorize(context.Background(), &a); answer.Verdict != tt.want {
						wrong++
					}
				}
			})
			if wrong > 0 {
				return fmt.Errorf("%d decisions were wrong", wrong)
			}
			over := measure.Exceeds(float64(took.CPU), float64(took.Noise), float64(tt.target))
			t.Alone(fmt.Sprintf("%d nodes, %s", n, tt.name), measure.Show(took.CPU), over, measure.Show(tt.target))
		}
		pod := podOf(7, podsPerNode)
		took := measure.One(func(n int) {
			for range n {
				index.SetPod(pod)
				index.DeletePod(pod.Namespace, pod.Name)
			}
		})
		t.Alone(fmt.Sprintf("%d nodes, a pod comes and goes", n), measure.Show(took.CPU), false, "")
	}
	return nil
}

// podOf is a pod with a secret of its own and a config map of everybody.
func podOf(node, i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("pod-%d-%d", node, i)},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprint("node-", node), ServiceAccountName: fmt.Sprint("sa-", i),
			Volumes: []corev1.Volume{
				{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: fmt.Sprintf("secret-%d-%d", node, i)}}},
				{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}}},
			},
		},
	}
}
