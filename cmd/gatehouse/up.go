package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/server"
)

// defaultIssuer is what kubeadm calls the issuer of a cluster. It does not
// depend on the port, so tokens outlive a change of it.
const defaultIssuer = "https://kubernetes.default.svc.cluster.local"

// newUpCommand returns the command that asks nothing and runs a whole server.
func newUpCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up [flags]",
		Short: "Run a server that is ready to be used, and say how",
		Long: `Makes or reopens a data directory with everything a server needs, serves, and
writes an administrator's kubeconfig. It takes all flags of gatehouse serve.`,
		Example: `  gatehouse up
  gatehouse up --data-dir /var/lib/gatehouse --secure-port 7443
  gatehouse up --ephemeral --output json`,
		Args: noCommand,
	}
	defaults := config.Default()
	defaults.Serving.BindAddress = net.IPv4(127, 0, 0, 1)
	defaults.Storage.DataDir = "gatehouse-data"
	defaults.ServiceAccounts.Issuers = []string{defaultIssuer}
	u := &up{stdout: stdout, stderr: stderr}
	u.flags = config.AddFlags(cmd.Flags(), defaults)
	cmd.Flags().BoolVar(&u.ephemeral, "ephemeral", false, "Keep everything in a temporary directory and remove it at the end.")
	cmd.Flags().StringVarP(&u.output, "output", "o", "", "How to say that the server is ready: json for scripts. Otherwise a block of text on a terminal, and log lines elsewhere.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if u.output != "" && u.output != "json" {
			return usage(cmd, fmt.Sprintf("there is no format %q", u.output), "choose -o json, or leave it out")
		}
		if u.ephemeral && cmd.Flags().Changed("data-dir") {
			return usage(cmd, "--ephemeral and --data-dir contradict each other", "leave one of them out")
		}
		if dir := cmd.Flags().Lookup("data-dir"); dir.Value.String() == "" {
			return usage(cmd, "--data-dir is empty, and there is nowhere to keep the way in", "name a folder, or run gatehouse serve")
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		return u.run(ctx)
	}
	return cmd
}

type up struct {
	stdout, stderr io.Writer
	flags          *config.Flags
	ephemeral      bool
	output         string
}

func (u *up) run(ctx context.Context) error {
	cfg, err := u.flags.Load()
	if err != nil {
		return err
	}
	if u.ephemeral {
		dir, err := os.MkdirTemp("", "gatehouse-")
		if err != nil {
			return fmt.Errorf("making a temporary data directory: %w", err)
		}
		defer os.RemoveAll(dir)
		cfg.Storage.DataDir = filepath.Join(dir, "data")
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	log := newLogger(u.stderr, cfg.Logging.Verbosity)
	start := time.Now()
	s, err := server.New(ctx, cfg, release(), log)
	if err != nil {
		return explainServer(err)
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	if err := s.WriteAdminKubeconfig(); err != nil {
		cancel()
		return errors.Join(explainServer(err), <-done)
	}
	go s.KeepAdminKubeconfig(running)
	if err := u.tell(s, cfg, log, time.Since(start)); err != nil {
		cancel()
		return errors.Join(fmt.Errorf("saying that the server is ready: %w", err), <-done)
	}
	err = <-done
	if u.ephemeral {
		log.Info("stopped; the data is gone, as --ephemeral asked")
	} else {
		log.Info("stopped; the data stays", "dataDir", cfg.Storage.DataDir)
	}
	return err
}

// ready is what scripts read.
type ready struct {
	Address       string `json:"address"`
	Kubeconfig    string `json:"kubeconfig"`
	DataDir       string `json:"dataDir"`
	CAFingerprint string `json:"caFingerprint"`
}

func (u *up) tell(s *server.Server, cfg *config.Configuration, log *slog.Logger, took time.Duration) error {
	r := ready{
		Address: "https://" + s.Address(), Kubeconfig: s.AdminKubeconfig(),
		DataDir: cfg.Storage.DataDir, CAFingerprint: pki.Fingerprint(s.Authority().Certificate()),
	}
	if file, ok := u.stdout.(*os.File); u.output == "" && ok && term.IsTerminal(int(file.Fd())) {
		return u.block(r, s.Storage(), took)
	}
	if u.output == "json" {
		return json.NewEncoder(u.stdout).Encode(r)
	}
	log.Info("ready", "address", r.Address, "kubeconfig", r.Kubeconfig, "storage", s.Storage(),
		"caFingerprint", r.CAFingerprint, "took", took.Round(time.Millisecond))
	return nil
}

// block tells people.
func (u *up) block(r ready, storage string, took time.Duration) error {
	_, err := fmt.Fprintf(u.stdout, `
  ✔ certificate authority   SHA-256 %s
  ✔ storage                 %s
  ✔ API                     %s   (ready after %s)
  ✔ admin kubeconfig        %s   (valid for %s, renewed while this runs)

  Next:  export KUBECONFIG=%s
         kubectl auth whoami
         kubectl create serviceaccount demo
         kubectl create token demo

  Ctrl-C stops the server. The data stays in %s.

`, r.CAFingerprint, storage, r.Address, took.Round(time.Millisecond), r.Kubeconfig, server.AdminLifetime, r.Kubeconfig, r.DataDir)
	return err
}
