package issuing_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/internal/issuing"
)

func TestLegacyToken(t *testing.T) {
	_, ring := world(t)
	account := &corev1.ServiceAccount{ObjectMeta: meta("ns", "sa", "sa-uid")}
	holder := func(change func(*corev1.Secret)) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: meta("ns", "holder", "h"), Type: corev1.SecretTypeServiceAccountToken}
		s.Annotations = map[string]string{"kubernetes.io/service-account.name": "sa", "kubernetes.io/service-account.uid": "sa-uid"}
		change(s)
		return s
	}
	for _, tt := range []struct {
		name   string
		change func(*corev1.Secret)
		want   string // the refusal, if any
	}{
		{"whole", func(*corev1.Secret) {}, ""},
		{"without UID", func(s *corev1.Secret) { delete(s.Annotations, "kubernetes.io/service-account.uid") }, ""},
		{"other type", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, `its type is "Opaque"`},
		{"no type", func(s *corev1.Secret) { s.Type = "" }, `its type is ""`},
		{"other namespace", func(s *corev1.Secret) { s.Namespace = "else" }, "not in the namespace"},
		{"no name", func(s *corev1.Secret) { s.Name = "" }, "not in the namespace"},
		{"other account", func(s *corev1.Secret) { s.Annotations["kubernetes.io/service-account.name"] = "sb" }, `service-account.name is "sb"`},
		{"no annotations", func(s *corev1.Secret) { s.Annotations = nil }, `service-account.name is ""`},
		{"older account", func(s *corev1.Secret) { s.Annotations["kubernetes.io/service-account.uid"] = "old" }, "account that is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := issuing.LegacyToken(t.Context(), signing{ring}, account, holder(tt.change))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !token.Empty() {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			const want = `{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"ns","kubernetes.io/serviceaccount/secret.name":"holder","kubernetes.io/serviceaccount/service-account.name":"sa","kubernetes.io/serviceaccount/service-account.uid":"sa-uid","sub":"system:serviceaccount:ns:sa"}`
			if got := payload(t, ring, string(token.Reveal())); got != want {
				t.Errorf("claims\n%s, want\n%s", got, want)
			}
		})
	}
	if _, err := issuing.LegacyToken(t.Context(), signing{ring}, &corev1.ServiceAccount{ObjectMeta: meta("ns", "sa", "")}, holder(func(s *corev1.Secret) { s.Annotations["kubernetes.io/service-account.uid"] = "" })); err == nil {
		t.Error("a token for an account that is not stored")
	}
	if _, err := issuing.LegacyToken(t.Context(), failing{}, account, holder(func(*corev1.Secret) {})); err == nil {
		t.Error("a token without a signature")
	}
}
