package server_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/internal/server"
)

// configure returns a configuration for dir. Its port is any free one.
func configure(dir string) *config.Configuration {
	cfg := config.Default()
	cfg.Serving.BindAddress = net.IPv4(127, 0, 0, 1)
	cfg.Serving.SecurePort = 0
	cfg.Storage.DataDir = dir
	cfg.ServiceAccounts.Issuers = []string{"https://gatehouse.example.org"}
	return cfg
}

// open makes a server that does not serve.
func open(t *testing.T, cfg *config.Configuration) (*server.Server, error) {
	t.Helper()
	return server.New(t.Context(), cfg, "v0.0.0-test", slog.New(slog.DiscardHandler))
}

// serve makes a server that serves until stop is called.
func serve(t *testing.T, cfg *config.Configuration) (s *server.Server, stop func()) {
	t.Helper()
	s, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// settled returns the revision of the store of s once nothing has been written
// for a while. Waiting too short would fail a test, never pass it.
func settled(t *testing.T, s *server.Server) int64 {
	t.Helper()
	last := int64(-1)
	for quiet := 0; quiet < 10; quiet++ {
		now, err := server.Revision(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if now != last {
			last, quiet = now, 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	return last
}

// A server that is started again finds everything as it should be.
func TestSecondStartWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, stop := serve(t, configure(dir))
	before := settled(t, s)
	stop()
	s, _ = serve(t, configure(dir))
	if after := settled(t, s); after != before {
		t.Errorf("the store went from revision %d to %d", before, after)
	}
}

func write(t *testing.T, text string, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A start that is refused says why, and leaves nothing that the next one would
// trip over.
func TestRefusedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name string
		// spoil makes cfg one that is refused, and returns what mends it.
		spoil func(t *testing.T, cfg *config.Configuration) (mend func())
		is    error
		says  string
		// untouched is set if not even the data directory may be made.
		untouched bool
	}{
		{"port in use", func(_ *testing.T, cfg *config.Configuration) func() {
			cfg.Serving.SecurePort = taken.Addr().(*net.TCPAddr).Port
			return func() { cfg.Serving.SecurePort = 0 }
		}, syscall.EADDRINUSE, "listening on 127.0.0.1:", true},
		{"directory of something else", func(t *testing.T, cfg *config.Configuration) func() {
			if err := os.Mkdir(cfg.Storage.DataDir, 0o700); err != nil {
				t.Fatal(err)
			}
			letter := write(t, "dear", cfg.Storage.DataDir, "letter.txt")
			return func() { os.Remove(letter) }
		}, nil, "letter.txt", false},
		{"directory below a file", func(t *testing.T, cfg *config.Configuration) func() {
			good := cfg.Storage.DataDir
			cfg.Storage.DataDir = filepath.Join(write(t, "", t.TempDir(), "file"), "data")
			return func() { cfg.Storage.DataDir = good }
		}, nil, "not a directory", true},
		{"directory that cannot be written", func(t *testing.T, cfg *config.Configuration) func() {
			if os.Getuid() == 0 {
				t.Skip("root may write everywhere")
			}
			above := filepath.Dir(cfg.Storage.DataDir)
			if err := os.Chmod(above, 0o500); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Chmod(above, 0o700) }
		}, fs.ErrPermission, "creating data directory", true},
		{"token file", func(t *testing.T, cfg *config.Configuration) func() {
			cfg.Authentication.TokenFile = write(t, "t0ken,jane\n", t.TempDir(), "tokens.csv")
			return func() { write(t, "t0ken,jane,1\n", cfg.Authentication.TokenFile) }
		}, nil, "need at least 3 columns", false},
		{"client CA", func(t *testing.T, cfg *config.Configuration) func() {
			cfg.Authentication.ClientCAFile = write(t, "none", t.TempDir(), "ca.pem")
			return func() { cfg.Authentication.ClientCAFile = "" }
		}, nil, "ca.pem", false},
		{"certificate for a name", func(t *testing.T, cfg *config.Configuration) func() {
			cfg.Serving.TLSSNICertKeys = []config.NamedCertificate{{CertFile: write(t, "none", t.TempDir(), "a.crt"), KeyFile: write(t, "none", t.TempDir(), "a.key")}}
			return func() { cfg.Serving.TLSSNICertKeys = nil }
		}, nil, "--tls-sni-cert-key", false},
		{"audit policy", func(t *testing.T, cfg *config.Configuration) func() {
			cfg.Audit.PolicyFile = write(t, "rules: [", t.TempDir(), "policy.yaml")
			cfg.Audit.Log.Path = filepath.Join(t.TempDir(), "audit.log")
			return func() { cfg.Audit.PolicyFile, cfg.Audit.Log.Path = "", "" }
		}, nil, "policy.yaml", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			cfg := configure(dir)
			mend := tt.spoil(t, cfg)
			s, err := open(t, cfg)
			if err == nil {
				t.Fatalf("started at %s", s.Address())
			}
			if !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("refused with %q, want it to say %q", err, tt.says)
			}
			if _, err := os.Stat(dir); tt.untouched && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the data directory was made: %v", err)
			}
			mend()
			_, stop := serve(t, cfg)
			stop()
		})
	}
}

// One directory is for one process, and a store for one set of keys.
func TestDirectoryIsHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := serve(t, configure(dir))
	if _, err := open(t, configure(dir)); !errors.Is(err, etcd.ErrInUse) {
		t.Errorf("a second server: %v, want ErrInUse", err)
	}
	stop()

	key := filepath.Join(dir, "service-account.key")
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, configure(dir)); !errors.Is(err, etcd.ErrForeign) || !strings.Contains(err.Error(), "service account key") {
		t.Errorf("with another key: %v, want ErrForeign", err)
	}
	write(t, string(good), key)
	serve(t, configure(dir))
}

// A server that cannot be made leaves nothing running.
func TestRefusedStartEnds(t *testing.T) {
	cfg := configure(filepath.Join(t.TempDir(), "data"))
	cfg.Authentication.TokenFile = write(t, "t0ken,jane\n", t.TempDir(), "tokens.csv")
	if _, err := open(t, cfg); err == nil {
		t.Fatal("started")
	}
	before := quiet()
	for range 3 {
		if _, err := open(t, cfg); err == nil {
			t.Fatal("started")
		}
	}
	if after := quiet(); after > before+2 {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines more:\n%s", after-before, stacks[:runtime.Stack(stacks, true)])
	}
}

// quiet returns how many goroutines there are when none has ended for a while.
func quiet() int {
	last := runtime.NumGoroutine()
	for still := 0; still < 20; still++ {
		time.Sleep(50 * time.Millisecond)
		if now := runtime.NumGoroutine(); now < last {
			last, still = now, 0
		}
	}
	return last
}

// Both our own authority and the operator's are followed, under their names.
func TestOwnAndForeignAuthority(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	_, stop := serve(t, configure(other))
	stop()
	dir := filepath.Join(t.TempDir(), "data")
	// Our own is there once the first has run.
	for _, file := range []string{filepath.Join(other, "ca.crt"), filepath.Join(dir, "ca.crt")} {
		cfg := configure(dir)
		cfg.Authentication.ClientCAFile = file
		_, stop := serve(t, cfg)
		stop()
	}
}

// A store from before a revocation is not served, as far as anything shows that it
// is one.
func TestStoreFromBeforeARevocation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cfg := configure(dir)
	_, stop := serve(t, cfg)
	stop()
	file := filepath.Join(dir, epoch.FileName)
	known, err := epoch.ReadFile(file)
	if err != nil || known == nil || known.Epoch != 0 {
		t.Fatalf("after a first start %s has %+v, %v", file, known, err)
	}
	known.Epoch, known.Revoked, known.Changed = 2, 1, time.Now()
	if err := known.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cfg); !errors.Is(err, epoch.ErrLost) || !strings.Contains(err.Error(), file) {
		t.Errorf("it is served: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "epoch")
	cfg.Storage.RevocationEpochFile = elsewhere
	_, stop = serve(t, cfg)
	stop()
	if known, err := epoch.ReadFile(elsewhere); err != nil || known == nil {
		t.Errorf("%s: %+v, %v", elsewhere, known, err)
	}
	if err := os.WriteFile(elsewhere, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cfg); err == nil || !strings.Contains(err.Error(), elsewhere) {
		t.Errorf("with a file that is damaged: %v", err)
	}
	cfg.Storage.RevocationEpochFile = ""
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	serve(t, cfg)
}
