package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/server/offline"
)

// newEncryptionCommand returns the commands of the keys at rest.
func newEncryptionCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "encryption",
		Short: "Change the keys that Secrets are encrypted with at rest",
		Long: `Secrets in a data directory are encrypted with the first key in its
encryption.yaml. To replace the key: rotate; restart the server, which encrypts
every Secret anew; wait until status shows that the old key has no values; prune.`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	e := &offline.Encryption{Log: quietLogger(stderr)}
	cmd.PersistentFlags().StringVar(&e.DataDir, "data-dir", "gatehouse-data", "The data directory of the server.")
	cmd.AddCommand(newRotateCommand(e, stdout), newKeysCommand(e, stdout), newPruneCommand(e, stdout))
	return cmd
}

func newRotateCommand(e *offline.Encryption, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Add a key that the server uses from its next start on",
		Args:  noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := e.Rotate()
			if err != nil {
				return explainOffline(cmd, err)
			}
			_, err = fmt.Fprintf(stdout, "added encryption key %s\n\nRestart the server to use it, and copy encryption.yaml to where the keys for your snapshots are.\n", id)
			return err
		},
	}
}

func newKeysCommand(e *offline.Encryption, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "List the keys, and how many values each has encrypted",
		Long: `Lists the keys in their order. While the server is stopped it also counts the
values in the store that each has encrypted.`,
		Args: noCommand,
	}
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		uses, err := e.Status(ctx)
		if err != nil {
			return explainOffline(cmd, err)
		}
		return output.write(stdout, keyUses(uses))
	}
	return cmd
}

func newPruneCommand(e *offline.Encryption, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove the keys that nothing is encrypted with any more",
		Long: `Removes every key but the first, if nothing in the store needs another. The
server must be stopped. Snapshots that were saved before still need the old keys:
keep a copy as long as you keep them.`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			gone, err := e.Prune(ctx)
			if err != nil {
				return explainOffline(cmd, err)
			}
			for _, id := range gone {
				if _, err := fmt.Fprintf(stdout, "removed encryption key %s\n", id); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

type keyUses []offline.KeyUse

func (k keyUses) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tPROVIDER\tWRITES\tVALUES")
	for _, u := range k {
		values := "unknown: the server runs"
		if u.Values >= 0 {
			values = fmt.Sprint(u.Values)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%t\t%s\n", u.ID, u.Name, u.Provider, u.Writes, values)
	}
	return t.Flush()
}
