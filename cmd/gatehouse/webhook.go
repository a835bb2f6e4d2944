package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/delegation"
	"gatehouse.dev/gatehouse/internal/server"
)

const (
	// webhookLifetime is that of kubeadm's certificates: both end with a restart
	// of the API server.
	webhookLifetime = "365d"
	// webhookDirectory is where a static pod's files mostly are.
	webhookDirectory = "/etc/kubernetes/gatehouse"
	// webhookCacheTTL is shorter than kube-apiserver's 2 and 5 minutes, because a
	// question costs this server little.
	webhookCacheTTL = 30 * time.Second
)

// newWebhookCommand returns the commands for who has an API server ask this one.
func newWebhookCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Have another API server ask this one who calls, and what they may do",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newWebhookConfigCommand(stdout))
	return cmd
}

func newWebhookConfigCommand(stdout io.Writer) *cobra.Command {
	d := server.Delegation{}
	var expires string
	cmd := &cobra.Command{
		Use:   "config NAME [flags]",
		Short: "Print what the kube-apiserver of the cluster NAME needs to ask this server",
		Long: `Prints two kubeconfigs, for reviews of tokens and of access, the file for
--authorization-config, the flags of kube-apiserver, and what remains undecided by
this server. In the kubeconfigs is a client certificate of the user
gatehouse:webhook:NAME in the group gatehouse:webhooks, which may make reviews and
nothing else, issued by the authority in the data directory. Who did it is written
to admin-audit.log there first.`,
		Example: `  gatehouse webhook config prod --server https://gatehouse.example.org:6443 --output-dir prod
  gatehouse webhook config prod --data-dir /var/lib/gatehouse --directory /etc/kubernetes/pki`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, fmt.Sprintf("%d clusters are named", len(args)), "name one, as in "+cmd.CommandPath()+" prod")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.DataDir, "data-dir", "gatehouse-data", "The data directory of the server.")
	flags.StringVar(&d.Server, "server", "", "The URL by which the API server reaches this server. Without it, where this server was last.")
	flags.StringVar(&d.Output, "output-dir", "", "The directory to write the files to. Without it they are printed.")
	flags.StringVar(&d.Directory, "directory", "", "Where the API server finds the files. Without it, --output-dir, or else "+webhookDirectory+".")
	flags.DurationVar(&d.CacheTTL, "cache-ttl", webhookCacheTTL, "How long the API server believes an answer.")
	flags.StringVar(&expires, "expires", webhookLifetime, "How long the certificate lives, as in 30d or 12h; at most 365d.")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		d.Cluster = args[0]
		if d.Lifetime, err = parseLifetime(expires); err != nil {
			return usage(cmd, "--expires: "+err.Error(), "write it as 30d or 12h")
		}
		if d.Directory, err = foundIn(d.Directory, d.Output); err != nil {
			return err
		}
		files, guide, err := d.Make()
		if err != nil {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "run it on the server's machine, as the owner of its data directory; --help tells about NAME and the flags"}
		}
		if d.Output != "" {
			files = nil
		}
		return printDelegation(stdout, d.Directory, files, guide)
	}
	return cmd
}

// foundIn returns where the API server finds the files.
func foundIn(directory, output string) (string, error) {
	switch {
	case directory != "":
		return directory, nil
	case output != "":
		return filepath.Abs(output)
	}
	return webhookDirectory, nil
}

// printDelegation prints each file under its path, and then what is for people.
func printDelegation(stdout io.Writer, directory string, files []delegation.File, guide string) error {
	var errs []error
	for _, f := range files {
		_, err := fmt.Fprintf(stdout, "# %s\n%s---\n", path.Join(directory, f.Name), f.Data.Reveal())
		errs = append(errs, err)
	}
	_, err := io.WriteString(stdout, guide)
	return errors.Join(append(errs, err)...)
}
