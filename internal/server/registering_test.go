package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/server"
)

const (
	credentials = "/apis/gatehouse.dev/v1alpha1/credentials"
	robotTokens = "/api/v1/namespaces/default/serviceaccounts/robot/token"
)

// broken is a store that takes nothing.
type broken struct{ register.Store }

func (broken) Put(context.Context, []ledger.Row) error {
	return errors.New("etcd: no leader at 10.0.0.1")
}

func plainFront(next http.Handler) http.Handler { return next }

// Without an entry nothing is issued, and the caller is told what to do and
// nothing of what is inside.
func TestNothingIsIssuedWithoutAnEntry(t *testing.T) {
	s, err := open(t, configure(filepath.Join(t.TempDir(), "data")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	server.Interpose(s, func(store register.Store) register.Store { return broken{store} }, plainFront)
	run(t, s)
	kubeconfig := s.AdminKubeconfig()
	robot := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	if code := call(t, kubeconfig, "POST", "/api/v1/namespaces/default/serviceaccounts", robot, nil); code != http.StatusCreated {
		t.Fatalf("making the account: %d", code)
	}
	var status metav1.Status
	if code := call(t, kubeconfig, "POST", robotTokens, &authenticationv1.TokenRequest{}, &status); code != http.StatusServiceUnavailable ||
		!strings.Contains(status.Message, "no credential is issued, because it could not be written into the register") || strings.Contains(status.Message, "10.0.0.1") {
		t.Errorf("%d %s", code, status.Message)
	}
	// A rehearsal issues nothing, and so needs no entry.
	if code := call(t, kubeconfig, "POST", robotTokens+"?dryRun=All", &authenticationv1.TokenRequest{}, nil); code != http.StatusCreated {
		t.Errorf("a rehearsal: %d", code)
	}
	before, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	// The operator's own way in waits for nobody: its entry is in the data directory.
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Errorf("the administrator's certificate: %v", err)
	}
	after, err := os.ReadFile(kubeconfig)
	if err != nil || string(after) == string(before) {
		t.Errorf("the kubeconfig is the same, or gone: %v", err)
	}
	spool := filepath.Join(filepath.Dir(kubeconfig), "issued")
	if entries, err := filepath.Glob(filepath.Join(spool, "x509-*.json")); err != nil || len(entries) != 1 {
		t.Errorf("entries that wait: %q, %v", entries, err)
	}
	// Where it cannot be left there either, nothing is issued.
	if err := errors.Join(os.RemoveAll(spool), os.WriteFile(spool, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAdminKubeconfig(); err == nil {
		t.Error("a certificate without an entry")
	}
	if last, err := os.ReadFile(kubeconfig); err != nil || string(last) != string(after) {
		t.Errorf("the kubeconfig has changed, or is gone: %v", err)
	}
	if err := os.Remove(spool); err != nil {
		t.Fatal(err)
	}
}

// run has s serve until the test ends.
func run(t *testing.T, s *server.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// What is issued without a server is in the register of the next one that starts.
func TestSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := serve(t, configure(dir))
	stop()
	e := server.Emergency{DataDir: dir, Output: filepath.Join(t.TempDir(), "k"), Lifetime: 3600e9}

	// If the entry cannot be left, there is no kubeconfig.
	folder := filepath.Join(dir, "issued")
	write(t, "in the way", folder)
	if err := e.Write(); err == nil || !strings.Contains(err.Error(), "recording the certificate") {
		t.Errorf("an entry that cannot be left: %v", err)
	}
	if _, err := os.Stat(e.Output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a kubeconfig all the same: %v", err)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := e.Write(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(folder, "x509-*.json"))
	if err != nil || len(left) != 1 {
		t.Fatalf("%q, %v", left, err)
	}
	if text, err := os.ReadFile(left[0]); err != nil || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("what is left: %s, %v", text, err)
	}
	bad := write(t, `{"expires":1`, folder, "x509-bad.json")
	begun := write(t, `{}`, folder, ".x509-begun.json123")

	s, _ := serve(t, configure(dir)) // which the bad one does not keep from starting
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(left[0]), ".json")
	var got register.Credential
	if code := call(t, s.AdminKubeconfig(), "GET", credentials+"/"+name, nil, &got); code != http.StatusOK {
		t.Fatalf("the register answers %d", code)
	}
	cert := certificateIn(t, e.Output)
	if got.Status.User.Username != cert.Subject.CommonName || got.Status.RequestedBy.Method != "DataDirectory" || got.Status.SerialNumber != cert.SerialNumber.Text(16) ||
		!got.Status.ExpirationTime.Time.Equal(cert.NotAfter) || strings.Join(got.Status.User.Groups, " ") != "gatehouse:admins" {
		t.Errorf("%+v", got.Status)
	}
	for file, want := range map[string]bool{left[0]: false, bad: true, begun: true} {
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
}
