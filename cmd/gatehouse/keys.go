package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/rotation"
	"gatehouse.dev/gatehouse/internal/server"
	"gatehouse.dev/gatehouse/internal/server/asking"
)

// newSigningKeysCommand returns the commands of the keys that sign tokens.
func newSigningKeysCommand(stdout io.Writer) *cobra.Command {
	asker := &asking.Asker{}
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List and replace the keys that sign tokens of service accounts",
		Long: `A key is published first, so that everybody knows it before its first token;
then it signs; then, when another one has taken over, it verifies until its last
token has expired; and then it is retired. The server does each step when its time
has come, and no token that is good is refused.`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&asker.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	cmd.PersistentFlags().StringVar(&asker.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	cmd.AddCommand(newKeysListCommand(asker, stdout), newKeysRotateCommand(asker, stdout), newKeysRetireCommand(asker, stdout))
	return cmd
}

func newKeysListCommand(asker *asking.Asker, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List the keys, and where each is in its life",
		Args:  noCommand,
	}
	cmd.Example = "  gatehouse keys list -o json"
	addKeysOutput(cmd, stdout, "get the path "+server.KeysPath, func(ctx context.Context) (*server.SigningKeys, error) { return asker.Keys(ctx) })
	return cmd
}

func newKeysRotateCommand(asker *asking.Asker, stdout io.Writer) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "rotate [flags]",
		Short: "Have another key sign, when everybody knows it",
		Long: `Makes a key and publishes it. It signs as soon as every copy of the key set has
ended that was promised to last: after an hour and a minute where the server has
discovery documents, and after two seconds where it has none.`,
		Example: `  gatehouse keys rotate
  gatehouse keys rotate --wait 24h   # the key set is copied elsewhere once a day`,
		Args: noCommand,
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "How long to publish the key before it signs, if longer than was promised, at most 720h.")
	addKeysOutput(cmd, stdout, "post to the path "+server.KeysPath+"/rotate", func(ctx context.Context) (*server.SigningKeys, error) {
		return asker.RotateKeys(ctx, server.KeyRotation{Wait: wait.String()})
	})
	return cmd
}

func newKeysRetireCommand(asker *asking.Asker, stdout io.Writer) *cobra.Command {
	r := server.KeyRetirement{}
	cmd := &cobra.Command{
		Use:   "retire ID [flags]",
		Short: "End a key whose tokens have expired, or with --now any key",
		Long: `Ends a key that never signed, or whose tokens have all expired; the server does
the latter by itself too. With --now the key is withdrawn: all its tokens are
refused from now on. If it was the one that signs, another one takes over at once,
which others may not know yet who verify tokens by a copy of the key set.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, fmt.Sprintf("%d keys are given", len(args)), "name one, by its ID or the first six characters of it; gatehouse keys list has them")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&r.Now, "now", false, "Withdraw the key: refuse its tokens, good or not.")
	cmd.Example = `  gatehouse keys retire KqhQ0o
  gatehouse keys retire KqhQ0o --now   # it has leaked`
	addKeysOutput(cmd, stdout, "post to the path "+server.KeysPath+"/retire", func(ctx context.Context) (*server.SigningKeys, error) {
		r.ID = cmd.Flags().Arg(0)
		return asker.RetireKey(ctx, r)
	})
	return cmd
}

// addKeysOutput has a command print the keys that do returns. Right is what its
// caller has to be allowed.
func addKeysOutput(cmd *cobra.Command, stdout io.Writer, right string, do func(context.Context) (*server.SigningKeys, error)) {
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		keys, err := do(ctx)
		if err != nil {
			if code, _ := refusalOf(err); code == http.StatusNotFound {
				return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "choose one that gatehouse keys list shows"}
			}
			return explainAsking(cmd, err, right)
		}
		return output.write(stdout, signingKeys(*keys))
	}
}

type signingKeys server.SigningKeys

func (k signingKeys) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tALGORITHM\tSTATE\tSOURCE\tNEXT")
	for _, key := range k.Keys {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Algorithm, key.State, key.Source, nextOf(key))
	}
	return t.Flush()
}

// nextOf says what becomes of a key, and when.
func nextOf(key server.SigningKey) string {
	at := func(t *time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case key.Ended != nil:
		return "ended " + at(key.Ended)
	case key.State == rotation.Published && key.Signs != nil:
		return "signs " + at(key.Signs)
	case key.State == rotation.Verifying && key.Unknown:
		return "until somebody withdraws it"
	case key.State == rotation.Verifying && key.Ends != nil && key.Endless:
		return "retires " + at(key.Ends) + ", or when no Secret holds its token"
	case key.State == rotation.Verifying && key.Ends != nil:
		return "retires " + at(key.Ends)
	}
	return "-"
}
