package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/externaljwt/apis/v1"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/server"
)

// crashEnv has the orders of the process that is killed.
const crashEnv = "GATEHOUSE_TEST_CRASH"

// orders say where a process is killed, and how many times it passes there before.
type orders struct {
	Dir, Mark, At string
	Passed        int
	External      bool
}

// configureCrash is a server that issues everything that there is.
func configureCrash(dir string) *config.Configuration {
	cfg := configure(dir)
	cfg.Certificates.ClientRenewableFor = config.Duration(365 * 24 * time.Hour)
	cfg.Certificates.Signers = []config.Signer{{
		Name: ownSigner, CommonNames: []string{"workload"}, Usages: []string{"digital signature", "client auth"},
		Duration: config.Duration(time.Hour),
	}}
	return cfg
}

// TestServeUntilKilled is the process that is killed.
func TestServeUntilKilled(t *testing.T) {
	told := os.Getenv(crashEnv)
	if told == "" {
		t.Skip("it is started by another test")
	}
	k := &killer{}
	if err := json.Unmarshal([]byte(told), &k.orders); err != nil {
		t.Fatal(err)
	}
	k.left.Store(int64(k.Passed))
	cfg := configureCrash(k.Dir)
	if k.External {
		cfg.ServiceAccounts.SigningEndpoint = startProgram(t, k)
	}
	s, err := open(t, cfg)
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
		switch k.Mark {
		case administrators:
			_ = s.WriteAdminKubeconfig()
		case owners:
			k.issueOffline(ctx, t, s)
		}
	}
	cancel()
	t.Fatalf("nobody has killed it: %v", <-done)
}

// issueOffline issues what the owner of the data directory gets without the
// server, and has the server take the entries.
func (k *killer) issueOffline(ctx context.Context, t *testing.T, s *server.Server) {
	out, err := os.MkdirTemp(filepath.Join(k.Dir, ".."), "owner-")
	if err != nil {
		t.Fatal(err)
	}
	if k.At == asked {
		time.AfterFunc(time.Duration(k.Passed)*time.Second/4000, kill)
	}
	e := server.Emergency{DataDir: k.Dir, Output: filepath.Join(out, "kubeconfig"), Lifetime: time.Hour}
	if err := e.Write(); err != nil {
		t.Fatal(err)
	}
	d := server.Delegation{DataDir: k.Dir, Cluster: filepath.Base(out), Output: filepath.Join(out, "webhooks"), Directory: "/etc/gatehouse", CacheTTL: time.Minute, Lifetime: time.Hour}
	if _, _, err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if err := server.TakeSpool(ctx, s); err != nil {
		t.Fatal(err)
	}
}

// A killer kills this process where it is told to.
type killer struct {
	orders
	left atomic.Int64
	mu   sync.Mutex
}

// due reports whether it is passed often enough.
func (k *killer) due() bool { return k.left.Add(-1) < 0 }

func (k *killer) pass(at string, rows []ledger.Row) {
	if at != k.At {
		return
	}
	for _, r := range rows {
		if strings.Contains(r.Name+string(r.Value), k.Mark) && k.due() {
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
	if s.killer.At == full && s.killer.fill(rows) {
		return errors.New("the store is full")
	}
	s.killer.pass(before, rows)
	err := s.Store.Put(ctx, rows)
	s.killer.pass(after, rows)
	return err
}

// fill reports whether the store has no room for these rows. The process is killed
// a while after that: what is done then takes milliseconds.
func (k *killer) fill(rows []ledger.Row) bool {
	for _, r := range rows {
		if strings.Contains(r.Name+string(r.Value), k.Mark) {
			time.AfterFunc(time.Duration(k.Passed)*time.Second/4000, kill)
			return true
		}
	}
	return false
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
	if json.Unmarshal(text, &answer) == nil && answer.Status.Token != "" && !w.killer.External {
		w.killer.signed(answer.Status.Token)
	}
	return w.ResponseWriter.Write(text)
}

// signed notes a token, and kills the process if it is time.
func (k *killer) signed(token string) {
	k.write(token)
	if k.At == signed && k.due() {
		kill()
	}
}

func (k *killer) write(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	file, err := os.OpenFile(filepath.Join(k.Dir, "..", "signed"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, err = file.WriteString(token + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		panic(err)
	}
}

// A program is an external signer. It notes what it signs.
type program struct {
	v1.UnimplementedExternalJWTSignerServer
	key    *ecdsa.PrivateKey
	killer *killer
}

func startProgram(t *testing.T, k *killer) (socket string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// The path of a socket has to be short.
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	v1.RegisterExternalJWTSignerServer(server, &program{key: key, killer: k})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return socket
}

func (p *program) Sign(_ context.Context, r *v1.SignJWTRequest) (*v1.SignJWTResponse, error) {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"one","typ":"JWT"}`))
	digest := sha256.Sum256([]byte(header + "." + r.Claims))
	a, b, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	a.FillBytes(raw[:32])
	b.FillBytes(raw[32:])
	signature := base64.RawURLEncoding.EncodeToString(raw)
	p.killer.signed(header + "." + r.Claims + "." + signature)
	return &v1.SignJWTResponse{Header: header, Signature: signature}, nil
}

func (p *program) FetchKeys(context.Context, *v1.FetchKeysRequest) (*v1.FetchKeysResponse, error) {
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	if err != nil {
		return nil, err
	}
	return &v1.FetchKeysResponse{Keys: []*v1.Key{{KeyId: "one", Key: der}}, DataTimestamp: timestamppb.Now(), RefreshHintSeconds: 300}, nil
}

func (p *program) Metadata(context.Context, *v1.MetadataRequest) (*v1.MetadataResponse, error) {
	return &v1.MetadataResponse{MaxTokenExpirationSeconds: 86400}, nil
}
