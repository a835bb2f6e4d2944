package trustbundle_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"gatehouse.dev/gatehouse/internal/controller/controllertest"
	"gatehouse.dev/gatehouse/internal/controller/trustbundle"
)

type bundle = certificatesv1.ClusterTrustBundle

func TestPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := controllertest.NewStore[*bundle]("clustertrustbundles")
		var ca atomic.Pointer[string]
		trust := func(text string) { ca.Store(&text) }
		trust("")
		c := &trustbundle.Controller{Bundles: store.Informer(), Store: store, Log: controllertest.Log(t), CA: func() []byte { return []byte(*ca.Load()) }}
		create := func(name, signer, text string) {
			t.Helper()
			if _, err := store.Create(t.Context(), &bundle{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text},
			}); err != nil {
				t.Fatal(err)
			}
		}
		create("example.com:x:a", "example.com/x", "theirs")
		create("kubernetes.io:kube-apiserver-serving:old", trustbundle.Signer, "old")
		controllertest.Start(t, []cache.SharedIndexInformer{c.Bundles}, c.Run)
		texts := func(when string, want ...string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			all, err := store.List(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range all {
				got = append(got, b.Spec.TrustBundle)
				if b.Spec.SignerName == trustbundle.Signer && !strings.HasPrefix(b.Name, "kubernetes.io:kube-apiserver-serving:") {
					t.Errorf("%s: the name %s", when, b.Name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		texts("without a CA", "old", "theirs")
		trust("first")
		texts("with one", "first", "theirs")
		name := trustbundle.Name([]byte("first"))
		b, err := store.Get(t.Context(), "", name)
		if err != nil {
			t.Fatal(err)
		}
		b.Spec.TrustBundle = "evil"
		if _, err := store.Update(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		texts("changed by somebody", "first", "theirs")
		if err := store.Delete(t.Context(), "", name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		texts("deleted by somebody", "first", "theirs")
		trust("second")
		texts("with another CA", "second", "theirs")
		store.Before = func(verb, _, _ string) error {
			if verb == "create" {
				return apierrors.NewInvalid(schema.GroupKind{Kind: "ClusterTrustBundle"}, "x", nil)
			}
			return nil
		}
		trust("no CA")
		texts("with what is no CA", "second", "theirs")
		store.Before = nil
		trust("third")
		texts("with a CA again", "theirs", "third")
	})
}
