package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/server"
)

// newServeCommand returns the command that runs a server as it is told to.
func newServeCommand(stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run a server with the configuration that is given",
		Long: `Runs a server that takes nothing for granted: where it keeps its objects, who
it calls itself, and where its keys are has to be said, in a file or with the
flags of kube-apiserver. Flags win over the file.`,
		Example: `  gatehouse serve --config gatehouse.yaml
  gatehouse serve --data-dir /var/lib/gatehouse --service-account-issuer https://id.example.org`,
		Args: noCommand,
	}
	flags := config.AddFlags(cmd.Flags(), config.Default())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := flags.Load()
		if err != nil {
			return err
		}
		if err := cfg.Validate(); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		log := newLogger(stderr, cfg.Logging.Verbosity)
		s, err := server.New(ctx, cfg, release(), log)
		if err != nil {
			return explainServer(err)
		}
		log.Info("ready", "address", "https://"+s.Address(), "storage", s.Storage())
		return s.Run(ctx)
	}
	return cmd
}

// untilSignal returns a context that ends when the process is asked to stop. A
// second request is not caught, so that it ends the process at once.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// explainServer adds to an error of a server what can be done about it.
func explainServer(err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "stop what listens there, or choose another --secure-port"
	case errors.Is(err, etcd.ErrInUse):
		hint = "stop that process, or choose another --data-dir"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		hint = "choose a --data-dir that this user can write to"
	case errors.Is(err, syscall.ENOSPC):
		hint = "make room on the disk, or choose another --data-dir"
	case errors.Is(err, etcd.ErrForeign):
		hint = "give this process the keys of the others"
	case errors.Is(err, etcd.ErrUnfinished):
		hint = "the last write of gatehouse migrate is what opens the store"
	default:
		return err
	}
	return &config.Problem{Where: "gatehouse", What: err.Error(), Mend: hint}
}
