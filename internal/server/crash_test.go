package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/server"
)

// A step is where a process is killed: at an entry that has a mark in its name or
// value, before or after the store has it, or when an answer with a token is about
// to leave.
type step struct {
	name, mark string
	// at is "before" or "after" the entry is written, or "signed".
	at string
	// most is how many times it is passed before.
	most int
}

func steps() []step {
	const client = certificatesv1.KubeAPIServerClientSignerName
	return []step{
		{"token, before its entry", "jti-", "before", 30},
		{"token, after its entry", "jti-", "after", 30},
		{"token, signed and not answered", "", "signed", 60},
		{"token of a Secret, before its entry", "jws-", "before", 1},
		{"token of a Secret, after its entry", "jws-", "after", 1},
		{"certificate, before its entry", client, "before", 1},
		{"certificate, after its entry", client, "after", 1},
		{"administrator, before his entry", administrators, "before", 1},
		{"administrator, after his entry", administrators, "after", 1},
	}
}

// administrators is the mark of what the server issues to its administrator.
const administrators = "gatehouse-admin"

// crashEnv has, for the process that is killed, its data directory, the step and
// how many times that is passed before.
const crashEnv = "GATEHOUSE_TEST_CRASH"

// TestNothingIsIssuedThatTheRegisterDoesNotKnow kills a server, by kill -9, at
// every step of issuing while several clients ask for tokens. Whatever anybody
// has got, and whatever was signed, is in the register afterwards.
func TestNothingIsIssuedThatTheRegisterDoesNotKnow(t *testing.T) {
	if testing.Short() {
		t.Skip("starts eighteen servers")
	}
	rounds := 1
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		rounds = 30
	}
	for _, s := range steps() {
		t.Run(s.name, func(t *testing.T) {
			for round := range rounds {
				crash(t, s, (7+11*round)%s.most)
			}
		})
	}
}

func crash(t *testing.T, s step, passed int) {
	dir := filepath.Join(t.TempDir(), "data")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeUntilKilled$", "-test.v")
	child.Env = append(os.Environ(), crashEnv+"="+strings.Join([]string{dir, s.mark, s.at, strconv.Itoa(passed)}, ":"))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if kubeconfig, ready := strings.CutPrefix(lines.Text(), "ready "); ready {
			tokens = askUntilGone(t, kubeconfig)
		}
	}
	err = child.Wait()
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v", err)
	}
	t.Logf("%d tokens were answered", len(tokens))
	known(t, dir, tokens)
}

// askUntilGone asks for tokens, and for a Secret with one, until nobody answers.
func askUntilGone(t *testing.T, kubeconfig string) []string {
	url, client := way(t, kubeconfig)
	send := func(method, path string, in, out any) error {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(string(text)))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", path, resp.Status)
		}
		return json.NewDecoder(resp.Body).Decode(out)
	}
	const accounts = "/api/v1/namespaces/default/serviceaccounts"
	_ = send("POST", accounts, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, &corev1.ServiceAccount{}) // killed perhaps
	_ = send("POST", "/api/v1/namespaces/default/secrets", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "held", Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, &corev1.Secret{})
	requestCertificate(t, send)
	var mu sync.Mutex
	var tokens []string
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for {
				var answer authenticationv1.TokenRequest
				if send("POST", accounts+"/robot/token", &authenticationv1.TokenRequest{}, &answer) != nil {
					return
				}
				mu.Lock()
				tokens = append(tokens, answer.Status.Token)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return tokens
}

const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// requestCertificate asks for a client certificate, and has that approved.
func requestCertificate(t *testing.T, send func(method, path string, in, out any) error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "ann"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	var made certificatesv1.CertificateSigningRequest
	if send("POST", requests, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "ann"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: asked}),
		},
	}, &made) != nil {
		return // killed
	}
	made.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "test",
	}}
	_ = send("PUT", requests+"/ann/approval", &made, &made) // killed perhaps, by then
}

// known starts a server on what is left, and looks for everything that was issued.
func known(t *testing.T, dir string, tokens []string) {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(dir, "..", "signed")); err == nil {
		tokens = append(tokens, strings.Fields(string(text))...)
	}
	names := map[string]string{} // of entries, and what they are of
	for _, token := range tokens {
		names["jti-"+jtiOf(t, token)] = "a token"
	}
	if cert := certificateIn(t, filepath.Join(dir, "admin.kubeconfig")); cert != nil {
		names[entryOf(t, cert.Raw)] = "the administrator's certificate"
	}
	s, stop := serve(t, configure(dir))
	defer stop()
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	var secrets corev1.SecretList
	call(t, s.AdminKubeconfig(), "GET", "/api/v1/secrets", nil, &secrets)
	for _, held := range secrets.Items {
		if token := string(held.Data[corev1.ServiceAccountTokenKey]); token != "" {
			sum := sha256.Sum256([]byte(token[:strings.LastIndex(token, ".")]))
			names["jws-"+hex.EncodeToString(sum[:])] = "the token of a Secret"
		}
	}
	var signed certificatesv1.CertificateSigningRequestList
	call(t, s.AdminKubeconfig(), "GET", requests, nil, &signed)
	for _, r := range signed.Items {
		if block, _ := pem.Decode(r.Status.Certificate); block != nil {
			names[entryOf(t, block.Bytes)] = "the certificate of a request"
		}
	}
	for name, of := range names {
		if code := call(t, s.AdminKubeconfig(), "GET", "/apis/gatehouse.dev/v1alpha1/credentials/"+name, nil, nil); code != http.StatusOK {
			t.Errorf("the register answers %d about %s, %s, that was issued", code, name, of)
		}
	}
}

// entryOf returns the name of the entry of a certificate.
func entryOf(t *testing.T, der []byte) string {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawTBSCertificate)
	return "x509-" + hex.EncodeToString(sum[:])
}

func jtiOf(t *testing.T, token string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ JTI string }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.JTI == "" {
		t.Fatalf("no jti in %s: %v", payload, err)
	}
	return claims.JTI
}

// certificateIn returns the client certificate of a kubeconfig, or nil if there is
// no such file.
func certificateIn(t *testing.T, kubeconfig string) *x509.Certificate {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(kubeconfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range cfg.AuthInfos {
		block, _ := pem.Decode(user.ClientCertificateData)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	return nil
}

// TestServeUntilKilled is the process that is killed.
func TestServeUntilKilled(t *testing.T) {
	told := strings.Split(os.Getenv(crashEnv), ":")
	if len(told) != 4 {
		t.Skip("it is started by another test")
	}
	dir := told[0]
	left, err := strconv.Atoi(told[3])
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{step: step{mark: told[1], at: told[2]}, signed: filepath.Join(dir, "..", "signed")}
	k.left.Store(int64(left))
	s, err := open(t, configure(dir))
	if err != nil {
		t.Fatal(err)
	}
	server.Interpose(s, func(store register.Store) register.Store { return killedStore{store, k} }, k.handler)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.WriteAdminKubeconfig(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready", s.AdminKubeconfig())
	for range 1000 { // a certificate is renewed now and then
		time.Sleep(20 * time.Millisecond)
		if k.step.mark == administrators {
			_ = s.WriteAdminKubeconfig()
		}
	}
	cancel()
	t.Fatalf("nobody has killed it: %v", <-done)
}

// A killer kills this process at a step.
type killer struct {
	step   step
	left   atomic.Int64
	signed string
	mu     sync.Mutex
}

func (k *killer) pass(at string, rows []ledger.Row) {
	if at != k.step.at {
		return
	}
	for _, r := range rows {
		if strings.Contains(r.Name+string(r.Value), k.step.mark) && k.left.Add(-1) < 0 {
			kill()
		}
	}
}

func kill() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

type killedStore struct {
	register.Store
	killer *killer
}

func (s killedStore) Put(ctx context.Context, rows []ledger.Row) error {
	s.killer.pass("before", rows)
	err := s.Store.Put(ctx, rows)
	s.killer.pass("after", rows)
	return err
}

// handler writes each token that is about to leave into a file, as somebody who
// reads memory would, and lets it go or kills the process.
func (k *killer) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			w = &tapped{w, k}
		}
		next.ServeHTTP(w, r)
	})
}

type tapped struct {
	http.ResponseWriter
	killer *killer
}

func (w *tapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *tapped) Write(text []byte) (int, error) {
	var answer authenticationv1.TokenRequest
	if json.Unmarshal(text, &answer) == nil && answer.Status.Token != "" {
		w.killer.write(answer.Status.Token)
		if w.killer.step.at == "signed" && w.killer.left.Add(-1) < 0 {
			kill()
		}
	}
	return w.ResponseWriter.Write(text)
}

func (k *killer) write(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	file, err := os.OpenFile(k.signed, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, err = file.WriteString(token + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		panic(err)
	}
}
