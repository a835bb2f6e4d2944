package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/joining"
	"gatehouse.dev/gatehouse/internal/secret"
)

// joinPatience is how long a kubelet waits for its certificate, too.
const joinPatience = 15 * time.Minute

// newNodeCommand returns the commands of nodes.
func newNodeCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Make this machine a node",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNodeJoinCommand(stdin, stdout, stderr))
	return cmd
}

func newNodeJoinCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join [SERVER] [flags]",
		Short: "Get the certificate of a node, and register it",
		Long: `Makes this machine a node of the server, as a kubelet would be, for whatever else is
to run on it. With a bootstrap token and the digest of the key of the server's CA it
makes sure that the server is the right one, asks for a client certificate of
system:node:NAME, waits until it is approved and signed, and registers the Node.
With --bootstrap-kubeconfig it does the same from the file that a kubelet gets.

The certificate, its key and a kubeconfig are in the directory; the path of the
kubeconfig is printed. What has come is not asked for again: after an interruption
the command goes on where it was.

With --watch it stays, renews the Node's Lease every 10 s and the certificate
between 70 and 90 percent of its life, and tells the server when it is stopped.`,
		Example: `  gatehouse node join https://gatehouse.example.org:6443 --token abcdef.0123456789abcdef --ca-hash sha256:0f3c...
  gatehouse node join --bootstrap-kubeconfig bootstrap.kubeconfig --name edge-7 --watch`,
	}
	n := &joining.Node{Patience: joinPatience, Release: release(), Say: func(text string) { fmt.Fprintln(stderr, text) }}
	var token, tokenFile string
	var watch bool
	flags := cmd.Flags()
	flags.StringVar(&n.Name, "name", "", "The name of the node. Without it, the host name in lower case.")
	flags.StringVar(&n.Folder, "dir", "gatehouse-node", "The directory for the certificate, its key and the kubeconfig.")
	flags.StringVar(&token, "token", "", "The bootstrap token. Every user of this machine can see it; --token-file is safer.")
	flags.StringVar(&tokenFile, "token-file", "", "A file with the bootstrap token, or - for standard input.")
	flags.StringSliceVar(&n.Way.CAHashes, "ca-hash", nil, "The digest of the key of the server's CA, as sha256:HEX. May be repeated; one has to fit.")
	flags.StringVar(&n.Way.Kubeconfig, "bootstrap-kubeconfig", "", "A kubeconfig with server, CA and bootstrap token, instead of the others.")
	flags.StringToStringVar(&n.Labels, "label", nil, "Labels of the Node, as NAME=VALUE. May be repeated.")
	flags.DurationVar(&n.Patience, "timeout", n.Patience, "How long to wait until the certificate is approved and signed.")
	flags.BoolVar(&watch, "watch", false, "Stay, and keep the Lease and the certificate.")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkWay(cmd, args, token, tokenFile, &n.Way); err != nil {
			return err
		}
		if tokenFile != "" {
			text, err := readCredential(tokenFile, stdin)
			if err != nil {
				return usage(cmd, "--token-file: "+err.Error(), "name a file with the token, or - for standard input")
			}
			token = strings.TrimSpace(string(text))
		}
		n.Way.Token = secret.New([]byte(token))
		return joinNode(cmd, n, watch, stdout)
	}
	return cmd
}

// checkWay refuses what leaves open how the machine gets in. Without anything it
// must be in already.
func checkWay(cmd *cobra.Command, args []string, token, tokenFile string, w *joining.Way) error {
	const mend = "give a server with --token-file and --ca-hash, or --bootstrap-kubeconfig alone"
	single := token != "" || tokenFile != "" || len(w.CAHashes) > 0
	switch {
	case len(args) > 1:
		return usage(cmd, fmt.Sprintf("%d servers are named", len(args)), "name one")
	case w.Kubeconfig != "" && (len(args) > 0 || single):
		return usage(cmd, "--bootstrap-kubeconfig leaves no room for a server, a token or a digest", mend)
	case token != "" && tokenFile != "":
		return usage(cmd, "there are two tokens", "give --token or --token-file")
	case len(args) == 0 && single:
		return usage(cmd, "no server is named", mend)
	case len(args) == 1 && token == "" && tokenFile == "":
		return usage(cmd, "there is no token", mend)
	case len(args) == 1 && len(w.CAHashes) == 0:
		return usage(cmd, "nothing says which CA the server must have", "give --ca-hash sha256:..., as for kubeadm join: whoever answers could be anybody")
	}
	if len(args) == 1 {
		w.Server = args[0]
	}
	return nil
}

func joinNode(cmd *cobra.Command, n *joining.Node, watch bool, stdout io.Writer) error {
	if n.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return usage(cmd, "this machine has no name: "+err.Error(), "choose one with --name")
		}
		n.Name = strings.ToLower(host)
	}
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	err := n.Join(ctx)
	if err == nil {
		fmt.Fprintln(stdout, n.Kubeconfig())
		if watch {
			err = n.Watch(ctx)
		}
	}
	if errors.Is(err, context.Canceled) {
		return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "it was interrupted: call it again, and it goes on where it was"}
	}
	if hinted, ok := errors.AsType[*joining.Hinted](err); ok {
		return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: hinted.Mend}
	}
	return err
}
