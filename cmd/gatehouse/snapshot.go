package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
	"gatehouse.dev/gatehouse/internal/server/offline"
	"gatehouse.dev/gatehouse/internal/server/saving"
)

// newSnapshotCommand returns the commands of backups.
func newSnapshotCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save the store, look at what was saved, and restore it",
		Long: `A snapshot is everything in the store, in the format of etcd, and none of the
keys. Without the keys it cannot be restored: keep ca.crt, ca.key,
service-account.key and encryption.yaml of the data directory in another safe
place, once, and again after each gatehouse encryption rotate.`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotSaveCommand(stdout, stderr), newSnapshotStatusCommand(stdout), newSnapshotRestoreCommand(stdout, stderr))
	return cmd
}

func newSnapshotSaveCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE [flags]",
		Short: "Save the store of a running server",
		Long: `Asks the server of the kubeconfig for everything that is stored, which needs the
right to post to ` + "/gatehouse/snapshot" + `, and writes it to FILE for its owner
alone. The file is there when it is whole, or not at all.`,
		Example: `  gatehouse snapshot save backup.db --kubeconfig gatehouse-data/admin.kubeconfig`,
		Args:    oneFile,
	}
	save := &saving.Save{}
	cmd.Flags().StringVar(&save.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	cmd.Flags().StringVar(&save.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		save.File = args[0]
		line := newProgress(stderr)
		save.Progress = func(n int64) { line.say("%.1f MiB", float64(n)/(1<<20)) }
		file, err := save.Run(ctx)
		line.end()
		if err != nil {
			return explainOffline(cmd, err)
		}
		return output.write(stdout, describe(file))
	}
	return cmd
}

func newSnapshotStatusCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status FILE [flags]",
		Short: "Check a snapshot, and say what is in it and which keys it needs",
		Args:  oneFile,
	}
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		file, err := snapshot.Read(args[0])
		if err != nil {
			return explainOffline(cmd, err)
		}
		return output.write(stdout, describe(file))
	}
	return cmd
}

func newSnapshotRestoreCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE --data-dir DIR [flags]",
		Short: "Make a new data directory of a snapshot",
		Long: `Checks that the snapshot is whole, that nobody has changed it, and that the keys
it needs are at hand, and only then makes the data directory. The keys in the
folder of --keys-from are copied into it; those in single files are not, and have
to be given to the server again.

What was deleted after the snapshot was saved is back after a restore. A restore
that would lift revocations is refused, if the file revocation-epoch of the old
data directory shows that there were any; without it nothing does, and the
command says so.`,
		Example: `  gatehouse snapshot restore backup.db --data-dir new-data --keys-from gatehouse-data
  gatehouse up --data-dir new-data`,
		Args: oneFile,
	}
	r := &offline.Restore{}
	cmd.Flags().StringVar(&r.DataDir, "data-dir", "", "The data directory to make. It must be empty, or not there.")
	cmd.Flags().StringVar(&r.KeysFrom, "keys-from", "", "The old data directory, or a copy of its ca.crt, ca.key, service-account.key and encryption.yaml.")
	cmd.Flags().BoolVar(&r.SkipSeal, "skip-seal-check", false, "Restore a snapshot without a seal, such as etcdctl makes. Nothing shows then that nobody has changed it.")
	cmd.Flags().StringVar(&r.EpochFile, "revocation-epoch-file", "", "The file that counted the revocations of the old server. Without it, revocation-epoch in the folder of --keys-from.")
	cmd.Flags().BoolVar(&r.AcceptLost, "accept-lost-revocations", false, "Restore a snapshot from before a revocation. Whoever was revoked after it is let in again.")
	addKeyFlags(cmd, &r.Given)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.DataDir == "" {
			return usage(cmd, "--data-dir is not set", "name the data directory to make")
		}
		r.Snapshot, r.Log = args[0], quietLogger(stderr)
		file, err := r.Run()
		if err != nil {
			return explainOffline(cmd, err)
		}
		if file.Doubt != "" {
			fmt.Fprintf(stderr, "warning: %s\n", file.Doubt)
		}
		_, err = fmt.Fprintf(stdout, "restored %d keys of revision %d into %s\n\n  gatehouse up --data-dir %s%s\n",
			file.Keys, file.Revision, r.DataDir, r.DataDir, keyFlags(r.Given))
		return err
	}
	return cmd
}

// oneFile refuses anything but one argument.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, fmt.Sprintf("%d files are given", len(args)), "name one file, as in "+cmd.CommandPath()+" backup.db")
	}
	return nil
}

// addKeyFlags adds the flags of keys that were given to a server, by the names
// that they have there.
func addKeyFlags(cmd *cobra.Command, keys *offline.Keys) {
	cmd.Flags().StringVar(&keys.ClientCA, "client-ca-file", "", "The file that the server had as --client-ca-file, if it had one.")
	cmd.Flags().StringVar(&keys.Signing, "service-account-signing-key-file", "", "The file that the server had as --service-account-signing-key-file, if it had one.")
	cmd.Flags().StringVar(&keys.Encryption, "encryption-provider-config", "", "The file that the server had as --encryption-provider-config, if it had one.")
}

// keyFlags are the flags that a server needs to be given the keys again.
func keyFlags(keys offline.Keys) string {
	var b strings.Builder
	for _, f := range []struct{ name, value string }{
		{"client-ca-file", keys.ClientCA},
		{"service-account-signing-key-file", keys.Signing},
		{"service-account-key-file", keys.Signing},
		{"encryption-provider-config", keys.Encryption},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " --%s %s", f.name, f.value)
		}
	}
	return b.String()
}

// A description is a snapshot as it is printed.
type description struct {
	File string `json:"file"`
	Size int64  `json:"size"`
	Hash string `json:"hash"`
	// Time is when it was begun, in RFC 3339, or "".
	Time     string `json:"time"`
	Revision int64  `json:"revision"`
	// RevocationEpoch is how often what is revoked had changed.
	RevocationEpoch int64  `json:"revocationEpoch"`
	Keys            int    `json:"keys"`
	EtcdVersion     string `json:"etcdVersion"`
	// SealedBy is the ID of an encryption key, or "".
	SealedBy string `json:"sealedBy"`
	Needs    needs  `json:"needs"`
}

// needs are the IDs of the keys that a snapshot needs.
type needs struct {
	ClientCA          string `json:"clientCA"`
	ServiceAccountKey string `json:"serviceAccountKey"`
	EncryptionKey     string `json:"encryptionKey"`
}

func describe(f *snapshot.File) description {
	first := func(ids []string) string {
		if len(ids) == 0 {
			return ""
		}
		return ids[0]
	}
	d := description{
		File: f.Path, Size: f.Size, Hash: "ok", Revision: f.Revision, RevocationEpoch: f.Revocations.Epoch, Keys: f.Keys, EtcdVersion: f.Version,
		Needs: needs{first(f.Claim.Authorities), first(f.Claim.Signing), first(f.Claim.Encryption)},
	}
	if f.Seal != nil {
		d.SealedBy = f.Seal.Key
	}
	if !f.Time.IsZero() {
		d.Time = f.Time.UTC().Format(time.RFC3339)
	}
	return d
}

func (d description) table(w io.Writer) error {
	sealed := "by nobody: a restore asks for --skip-seal-check"
	if d.SealedBy != "" {
		sealed = "by encryption key " + d.SealedBy
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"FILE", d.File},
		{"SIZE", fmt.Sprintf("%.1f MiB", float64(d.Size)/(1<<20))},
		{"HASH", d.Hash},
		{"TIME", cmp.Or(d.Time, "not told")},
		{"REVISION", fmt.Sprint(d.Revision)},
		{"REVOCATIONS", fmt.Sprintf("epoch %d", d.RevocationEpoch)},
		{"KEYS", fmt.Sprint(d.Keys)},
		{"SEALED", sealed},
		{"NEEDS", "client CA " + d.Needs.ClientCA},
		{"", "service account key " + d.Needs.ServiceAccountKey},
		{"", "encryption key " + d.Needs.EncryptionKey},
	} {
		if !strings.HasSuffix(row[1], " ") { // a key that is not needed
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	return t.Flush()
}

// explainOffline adds to an error what can be done about it.
func explainOffline(cmd *cobra.Command, err error) error {
	hint := ""
	switch {
	case errors.Is(err, context.Canceled):
		hint = "it was interrupted; run it again"
	case errors.Is(err, offline.ErrMissingKey):
		hint = "name the folder of the old keys with --keys-from, or their files"
		if cmd.Flags().Lookup("keys-from") == nil {
			hint = "name the files of keys that the server was given"
		}
	case errors.Is(err, offline.ErrForged):
		hint = "take another snapshot, and find out who could write to this one"
	case errors.Is(err, offline.ErrUnsealed):
		hint = "if you know where it comes from, give --skip-seal-check"
	case errors.Is(err, offline.ErrRevoked):
		hint = "restore a later snapshot; if there is none, give --accept-lost-revocations, and revoke again what was revoked since"
	case errors.Is(err, offline.ErrInUse):
		hint = "nothing was removed"
	case errors.Is(err, snapshot.ErrDamaged):
		hint = "take another snapshot"
	default:
		return explainServer(err)
	}
	return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: hint}
}
