package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/server"
)

// emergencyLifetime is short because nothing but time takes the certificate
// back while nobody can reach the server.
const emergencyLifetime = time.Hour

// newAdminCommand returns the commands for who owns the server's machine.
func newAdminCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Get back in as the owner of the data directory",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAdminKubeconfigCommand(stdout))
	return cmd
}

func newAdminKubeconfigCommand(stdout io.Writer) *cobra.Command {
	e := server.Emergency{Lifetime: emergencyLifetime}
	cmd := &cobra.Command{
		Use:   "kubeconfig [flags]",
		Short: "Write a kubeconfig of an administrator that is valid for an hour",
		Long: `Mints a client certificate of the group gatehouse:admins with the authority in
the data directory, and writes it into a kubeconfig. It needs neither the server
nor anything the server depends on. Who did it is written to admin-audit.log in
the data directory first.`,
		Example: `  gatehouse admin kubeconfig --data-dir /var/lib/gatehouse
  KUBECONFIG=emergency.kubeconfig kubectl auth whoami`,
		Args: noCommand,
	}
	cmd.Flags().StringVar(&e.DataDir, "data-dir", "gatehouse-data", "The data directory of the server.")
	cmd.Flags().StringVar(&e.Server, "server", "", "The URL of the server. Without it, where the server was last.")
	cmd.Flags().StringVar(&e.Output, "output-file", "emergency.kubeconfig", "The file to write.")
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := e.Write(); err != nil {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "run it on the server's machine, as the owner of its data directory"}
		}
		path, err := filepath.Abs(e.Output)
		if err != nil {
			path = e.Output
		}
		_, err = fmt.Fprintf(stdout, "%s\n", path)
		return err
	}
	return cmd
}
