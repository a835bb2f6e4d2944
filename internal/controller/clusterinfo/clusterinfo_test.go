package clusterinfo_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/controller/clusterinfo"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
)

const server = "https://api.example.org:6443"

type world struct {
	t       *testing.T
	secrets *controllertest.Store[*corev1.Secret]
	maps    *controllertest.Store[*corev1.ConfigMap]
	ca      atomic.Value // string
}

func bubble(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t:       t,
			secrets: controllertest.NewStore[*corev1.Secret]("secrets"),
			maps:    controllertest.NewStore[*corev1.ConfigMap]("configmaps"),
		}
		w.ca.Store("the CA")
		test(w)
	})
}

// start runs n controllers, each with informers of its own.
func (w *world) start(n int) {
	w.t.Helper()
	var informers []cache.SharedIndexInformer
	var runs []func(context.Context) error
	for range n {
		c := &clusterinfo.Controller{
			Secrets: w.secrets.Informer(), ConfigMaps: w.maps.Informer(), Store: w.maps,
			Server: server, CA: func() []byte { return []byte(w.ca.Load().(string)) }, Log: controllertest.Log(w.t),
		}
		informers = append(informers, c.Secrets, c.ConfigMaps)
		runs = append(runs, c.Run)
	}
	controllertest.Start(w.t, informers, runs...)
}

// secretOf returns the secret of the token that a test made.
func secretOf(id string) string { return fmt.Sprintf("%016x", id) }

func (w *world) token(id string, changes map[string]string) {
	w.t.Helper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + id},
		Type:       "bootstrap.kubernetes.io/token",
		Data: map[string][]byte{
			"token-id": []byte(id), "token-secret": []byte(secretOf(id)[:16]), "usage-bootstrap-signing": []byte("true"),
		},
	}
	for key, value := range changes {
		s.Data[key] = []byte(value)
	}
	if _, err := w.secrets.Create(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) info() *corev1.ConfigMap {
	w.t.Helper()
	synctest.Wait()
	cm, err := w.maps.Get(w.t.Context(), "kube-public", "cluster-info")
	if err != nil {
		w.t.Fatal(err)
	}
	return cm
}

// edit changes the ConfigMap as somebody else would.
func (w *world) edit(change func(cm *corev1.ConfigMap)) {
	w.t.Helper()
	cm := w.info()
	change(cm)
	if _, err := w.maps.Update(w.t.Context(), cm); err != nil {
		w.t.Fatal(err)
	}
}

// signed fails the test unless the ConfigMap has the signatures of these tokens
// and of no others, each over the kubeconfig that is there.
func (w *world) signed(when string, ids ...string) {
	w.t.Helper()
	cm := w.info()
	var got []string
	for key, jws := range cm.Data {
		id, ok := strings.CutPrefix(key, "jws-kubeconfig-")
		if !ok {
			continue
		}
		got = append(got, id)
		if want := sign(cm.Data["kubeconfig"], id); jws != want {
			w.t.Errorf("%s: the signature of %s is %s, want %s", when, id, jws, want)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		w.t.Errorf("%s: signed by %q, want %q", when, got, ids)
	}
}

// sign is RFC 7515 appendix F, for the token of a test.
func sign(content, id string) string {
	b64 := base64.RawURLEncoding
	header := b64.EncodeToString([]byte(`{"alg":"HS256","kid":"` + id + `"}`))
	mac := hmac.New(sha256.New, []byte(secretOf(id)[:16]))
	mac.Write([]byte(header + "." + b64.EncodeToString([]byte(content))))
	return header + ".." + b64.EncodeToString(mac.Sum(nil))
}

// says fails the test unless the kubeconfig is ours, with the CA.
func (w *world) says(when, ca string) {
	w.t.Helper()
	config, err := clientcmd.Load([]byte(w.info().Data["kubeconfig"]))
	if err != nil {
		w.t.Fatal(err)
	}
	cluster := config.Clusters[""]
	if len(config.Clusters) != 1 || cluster == nil || len(config.AuthInfos) != 0 || len(config.Contexts) != 0 {
		w.t.Fatalf("%s: the kubeconfig is %+v", when, config)
	}
	if cluster.Server != server || string(cluster.CertificateAuthorityData) != ca {
		w.t.Errorf("%s: it says %s, %q", when, cluster.Server, cluster.CertificateAuthorityData)
	}
}

func TestMakesClusterInfo(t *testing.T) {
	bubble(t, func(w *world) {
		w.start(1)
		w.says("without a token", "the CA")
		w.signed("without a token")
		w.ca.Store("another CA")
		time.Sleep(time.Second)
		w.says("with another CA", "another CA")

		w.token("aaaaaa", nil)
		w.signed("with a token", "aaaaaa")
		w.ca.Store("a third CA")
		time.Sleep(time.Second)
		w.says("with a third CA", "a third CA")
		w.signed("with a third CA", "aaaaaa")

		if err := w.maps.Delete(t.Context(), "kube-public", "cluster-info", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.says("made anew", "a third CA")
		w.signed("made anew", "aaaaaa")
	})
}

func TestNothingWithoutCA(t *testing.T) {
	bubble(t, func(w *world) {
		w.ca.Store("")
		w.token("aaaaaa", nil)
		w.start(1)
		time.Sleep(time.Minute)
		if n := w.maps.Writes(); n != 0 {
			t.Errorf("%d writes without a CA", n)
		}
		w.ca.Store("the CA")
		time.Sleep(time.Second)
		w.says("with a CA", "the CA")
		w.signed("with a CA", "aaaaaa")
		w.ca.Store("")
		time.Sleep(time.Minute)
		w.says("once it is gone", "the CA")
	})
}

func TestFollowsTokens(t *testing.T) {
	bubble(t, func(w *world) {
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		w.token("aaaaaa", nil)
		w.token("bbbbbb", map[string]string{"expiration": in(time.Minute)})
		w.token("cccccc", map[string]string{"expiration": in(time.Hour)})
		w.token("dddddd", map[string]string{"usage-bootstrap-signing": "false"})
		w.token("eeeeee", map[string]string{"expiration": in(-time.Minute)})
		w.token("ffffff", map[string]string{"token-secret": "hunter2"})
		w.token("gggggg", map[string]string{"token-id": "hhhhhh"})
		w.start(1)
		w.signed("at the start", "aaaaaa", "bbbbbb", "cccccc")
		writes := w.maps.Writes()
		time.Sleep(time.Minute - time.Nanosecond)
		w.signed("just before a minute", "aaaaaa", "bbbbbb", "cccccc")
		if n := w.maps.Writes() - writes; n != 0 {
			t.Errorf("%d writes while nothing happened", n)
		}
		// Nobody deletes the Secret, and yet it signs no more.
		time.Sleep(time.Nanosecond)
		w.signed("after a minute", "aaaaaa", "cccccc")

		w.token("iiiiii", nil)
		w.signed("with a new token", "aaaaaa", "cccccc", "iiiiii")
		if err := w.secrets.Delete(t.Context(), "kube-system", "bootstrap-token-aaaaaa", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.signed("without the first token", "cccccc", "iiiiii")
		s, err := w.secrets.Get(t.Context(), "kube-system", "bootstrap-token-iiiiii")
		if err != nil {
			t.Fatal(err)
		}
		s.Data["usage-bootstrap-signing"] = nil
		if _, err := w.secrets.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		w.signed("after a usage was taken back", "cccccc")
	})
}

// What somebody else wrote is signed as it is, and never replaced.
func TestKeepsWhatOthersWrote(t *testing.T) {
	const theirs = "apiVersion: v1\nkind: Config\n"
	for name, write := range map[string]func(w *world){
		"before the start": func(w *world) {
			_, err := w.maps.Create(w.t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: "kube-public", Name: "cluster-info"},
				Data:       map[string]string{"kubeconfig": theirs, "note": "kept"},
			})
			if err != nil {
				w.t.Fatal(err)
			}
			w.start(1)
		},
		"over ours": func(w *world) {
			w.start(1)
			w.edit(func(cm *corev1.ConfigMap) { cm.Data["kubeconfig"], cm.Data["note"] = theirs, "kept" })
		},
		"over ours, without our annotation": func(w *world) {
			w.start(1)
			w.edit(func(cm *corev1.ConfigMap) {
				cm.Data["kubeconfig"], cm.Data["note"], cm.Annotations = theirs, "kept", nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.token("aaaaaa", nil)
				write(w)
				w.signed("at first", "aaaaaa")
				w.ca.Store("another CA")
				time.Sleep(time.Minute)
				w.token("bbbbbb", nil)
				w.signed("later", "aaaaaa", "bbbbbb")
				if cm := w.info(); cm.Data["kubeconfig"] != theirs || cm.Data["note"] != "kept" {
					t.Errorf("the data is %q", cm.Data)
				}
			})
		})
	}
}

func TestMendsSignatures(t *testing.T) {
	bubble(t, func(w *world) {
		w.token("aaaaaa", nil)
		w.start(1)
		for what, change := range map[string]func(cm *corev1.ConfigMap){
			"forged":  func(cm *corev1.ConfigMap) { cm.Data["jws-kubeconfig-aaaaaa"] = "forged" },
			"removed": func(cm *corev1.ConfigMap) { delete(cm.Data, "jws-kubeconfig-aaaaaa") },
			"added":   func(cm *corev1.ConfigMap) { cm.Data["jws-kubeconfig-bbbbbb"] = "forged" },
			"of more": func(cm *corev1.ConfigMap) { cm.Data["kubeconfig"] += "# changed\n" },
		} {
			w.edit(change)
			w.signed(what, "aaaaaa")
		}
	})
}

// Without a kubeconfig there is nothing to sign, and an immutable ConfigMap
// cannot be changed: both are left alone, without trying for ever.
func TestLeavesAlone(t *testing.T) {
	yes := true
	for name, cm := range map[string]*corev1.ConfigMap{
		"no data":       {},
		"no kubeconfig": {Data: map[string]string{"jws-kubeconfig-zzzzzz": "old"}},
		"immutable":     {Data: map[string]string{"kubeconfig": "theirs"}, Immutable: &yes},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				cm.Namespace, cm.Name = "kube-public", "cluster-info"
				if _, err := w.maps.Create(t.Context(), cm); err != nil {
					t.Fatal(err)
				}
				w.token("aaaaaa", nil)
				w.start(1)
				time.Sleep(time.Hour)
				if got := w.info(); !maps.Equal(got.Data, cm.Data) || w.maps.Writes() != 1 {
					t.Errorf("the data is %q after %d writes", got.Data, w.maps.Writes())
				}
			})
		})
	}
}

func TestTriesAgain(t *testing.T) {
	bubble(t, func(w *world) {
		failures := 0
		w.maps.Before = func(verb, _, _ string) error {
			if verb != "get" && failures < 5 {
				failures++
				return apierrors.NewInternalError(context.DeadlineExceeded)
			}
			return nil
		}
		w.token("aaaaaa", nil)
		w.start(1)
		time.Sleep(time.Minute)
		w.signed("after failures", "aaaaaa")
		if failures != 5 {
			t.Errorf("%d failures, want 5", failures)
		}
	})
}

// Two processes that both believe to lead settle on one outcome, and then rest.
func TestTwoProcesses(t *testing.T) {
	bubble(t, func(w *world) {
		w.start(2)
		for i := range 20 {
			w.token(fmt.Sprintf("t%05d", i), nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		writes := w.maps.Writes()
		if n := len(w.info().Data); n != 21 {
			t.Errorf("%d entries, want the kubeconfig and 20 signatures", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.maps.Writes() - writes; n != 0 {
			t.Errorf("%d writes while nothing happened", n)
		}
	})
}

func TestAccess(t *testing.T) {
	role, binding := clusterinfo.Access()
	rules := fmt.Sprintf("%s %v", role.Name, role.Rules)
	if want := "kubeadm:bootstrap-signer-clusterinfo [{[get] [] [configmaps] [cluster-info] []}]"; rules != want {
		t.Errorf("the role is %s, want %s", rules, want)
	}
	subjects := fmt.Sprintf("%s %v %v", binding.Name, binding.RoleRef, binding.Subjects)
	if want := "kubeadm:bootstrap-signer-clusterinfo {rbac.authorization.k8s.io Role kubeadm:bootstrap-signer-clusterinfo} [{User rbac.authorization.k8s.io system:anonymous }]"; subjects != want {
		t.Errorf("the binding is %s, want %s", subjects, want)
	}
	if role.Namespace != "kube-public" || binding.Namespace != "kube-public" {
		t.Errorf("in %s and %s, want kube-public", role.Namespace, binding.Namespace)
	}
}
