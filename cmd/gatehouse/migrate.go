package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd/migration"
	"gatehouse.dev/gatehouse/internal/server/offline"
)

// newMigrateCommand returns the command that moves an embedded store out.
func newMigrateCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate --data-dir DIR --etcd-servers URL,... [flags]",
		Short: "Move the data of an embedded store to an etcd cluster",
		Long: `Copies everything in the store of a data directory, whose server must be stopped,
to an etcd cluster that is empty below the prefix; compares both; and collects
the keys that the servers on the cluster need in one folder. If it is
interrupted, run it again: it goes on, and no server starts on a half.

The directory stays as it is. Events are left behind: they would be gone within
the hour. To keep the numbers of revisions too, restore a snapshot into a new
cluster with etcdutl instead.`,
		Example: `  gatehouse migrate --data-dir gatehouse-data --keys-to gatehouse-keys \
    --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379 \
    --etcd-cafile etcd-ca.crt --etcd-certfile etcd.crt --etcd-keyfile etcd.key`,
		Args: noCommand,
	}
	m := &offline.Migration{}
	cmd.Flags().StringVar(&m.DataDir, "data-dir", "gatehouse-data", "The data directory to move.")
	cmd.Flags().StringVar(&m.KeysTo, "keys-to", "gatehouse-keys", "The folder to make for the keys.")
	cmd.Flags().StringSliceVar(&m.To.Servers, "etcd-servers", nil, "The URLs of the etcd servers.")
	cmd.Flags().StringVar(&m.To.CAFile, "etcd-cafile", "", "The file with the CA certificates of the etcd servers in PEM form.")
	cmd.Flags().StringVar(&m.To.CertFile, "etcd-certfile", "", "The file with the client certificate for etcd in PEM form.")
	cmd.Flags().StringVar(&m.To.KeyFile, "etcd-keyfile", "", "The file with the private key of that certificate in PEM form.")
	cmd.Flags().StringVar(&m.Prefix, "etcd-prefix", config.Default().Storage.Etcd.Prefix, "What the key of every object begins with, here as there.")
	addKeyFlags(cmd, &m.Given)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(m.To.Servers) == 0 {
			return usage(cmd, "--etcd-servers is not set", "name the servers of the cluster")
		}
		if (m.To.CertFile == "") != (m.To.KeyFile == "") {
			return usage(cmd, "--etcd-certfile and --etcd-keyfile belong together", "give both, or neither")
		}
		return migrate(cmd, m, stdout, stderr)
	}
	return cmd
}

func migrate(cmd *cobra.Command, m *offline.Migration, stdout, stderr io.Writer) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	line := newProgress(stderr)
	m.Log = quietLogger(stderr)
	m.Progress = func(done, total int) { line.say("%d of %d keys", done, total) }
	result, err := m.Run(ctx)
	line.end()
	if errors.Is(err, migration.ErrOccupied) {
		return &config.Problem{Where: cmd.CommandPath(), What: err.Error(),
			Mend: "choose an empty cluster, or another --etcd-prefix for both sides; what a migration has begun is removed with etcdctl del --prefix"}
	}
	if err != nil {
		return explainOffline(cmd, err)
	}
	_, err = fmt.Fprintf(stdout, `moved %d keys, SHA-256 %x; %d events stay behind

Copy %s to each server, and run there:

  gatehouse serve \
    %s \
    --service-account-issuer=%s

The issuer is that of gatehouse up; give the one you had. %s is as it was: do
not serve it again, or the two will differ.
`, result.Keys, result.Digest, result.Left, m.KeysTo, strings.Join(m.Flags(), " \\\n    "), defaultIssuer, m.DataDir)
	return err
}

// quietLogger returns a logger that tells only of trouble, for commands that say
// themselves what they have done.
func quietLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}
