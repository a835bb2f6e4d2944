package server_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/server"
)

// soon waits until done says so.
func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after half a minute", what)
		}
	}
}

// When the keys of tokens in the store cannot be read for longer than
// --max-staleness, nobody knows whether one was withdrawn: their tokens are
// refused, readyz fails, and everybody else is let in.
func TestUnreadableKeys(t *testing.T) {
	cfg := configure(filepath.Join(t.TempDir(), "data"))
	cfg.Storage.MaxStaleness = config.Duration(3 * time.Second)
	s, _ := serve(t, cfg)
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	admin := s.AdminKubeconfig()
	var issued authenticationv1.TokenRequest
	soon(t, "issuing a token", func() bool {
		return call(t, admin, "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", authenticationv1.TokenRequest{}, &issued) == http.StatusCreated
	})
	// review is also whether another is let in, who asks.
	review := func() (code int, status authenticationv1.TokenReviewStatus) {
		var r authenticationv1.TokenReview
		r.Spec.Token = issued.Status.Token
		code = call(t, admin, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", r, &r)
		return code, r.Status
	}
	ready := func() bool { return call(t, admin, "GET", "/readyz/signing-keys", nil, nil) == http.StatusOK }
	soon(t, "accepting it", func() bool { _, status := review(); return status.Authenticated })
	if !ready() {
		t.Error("readyz fails with keys that can be read")
	}
	mend, err := server.SpoilKeys(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "refusing the token", func() bool { code, status := review(); return code == http.StatusCreated && !status.Authenticated })
	if _, status := review(); !strings.Contains(status.Error, "no keys found") {
		t.Errorf("it is refused because %q", status.Error)
	}
	if ready() {
		t.Error("readyz does not tell")
	}
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	soon(t, "accepting it again", func() bool { _, status := review(); return status.Authenticated })
	soon(t, "being ready again", ready)
}
