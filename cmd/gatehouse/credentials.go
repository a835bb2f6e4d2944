package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/fields"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/register"
	"gatehouse.dev/gatehouse/internal/server/asking"
)

// newCredentialsCommand returns the commands that show what was issued.
func newCredentialsCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credentials",
		Short: "Show what was issued: to whom, until when, and whether it is used",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCredentialsListCommand(stdout), newCredentialsGetCommand(stdout))
	return cmd
}

const mayReadCredentials = "get and list credentials.gatehouse.dev"

func newCredentialsListCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "List what was issued and has not ended",
		Long: `Asks the server of the kubeconfig for its register of the tokens and certificates
that it has issued, which needs the right to list credentials.gatehouse.dev. What
ends first is at the top. Several flags choose what all of them fit.`,
		Example: `  gatehouse credentials list --expiring 7d -o wide
  gatehouse credentials list --serviceaccount default/robot
  gatehouse credentials list --group gatehouse:admins -o name`,
		Args: noCommand,
	}
	asker, chosen := &asking.Asker{}, &chosenCredentials{}
	addAsker(cmd.Flags(), asker)
	chosen.addFlags(cmd.Flags())
	shown := addCredentialOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		selector, err := chosen.selector(cmd)
		if err != nil {
			return err
		}
		if err := shown.check(cmd); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		page := shown.page(cmd, stdout)
		if err := asker.Credentials(ctx, selector, page.show); err != nil {
			return explainAsking(cmd, err, mayReadCredentials)
		}
		return page.end()
	}
	return cmd
}

func newCredentialsGetCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME | CREDENTIAL-ID [flags]",
		Short: "Show one credential that was issued",
		Long: `Shows an entry of the server's register by its name, or by the ID that requests
with the credential have in authentication.kubernetes.io/credential-id: JTI=... or
X509SHA256=... It needs the right to get credentials.gatehouse.dev, and for the
latter to list them.`,
		Example: `  gatehouse credentials get JTI=5b0d1c3e-2f67-4b2a-9a0e-7a5f3f1e9c11 -o yaml`,
	}
	asker := &asking.Asker{}
	addAsker(cmd.Flags(), asker)
	shown := addCredentialOutput(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usage(cmd, fmt.Sprintf("%d names are given", len(args)), "give one, as gatehouse credentials list shows it, or one credential ID")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := shown.check(cmd); err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		found, err := asker.Credential(ctx, args[0])
		if code, _ := refusalOf(err); code == http.StatusNotFound {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "choose one that gatehouse credentials list shows, which has what has ended with --expired"}
		}
		if err != nil {
			return explainAsking(cmd, err, mayReadCredentials)
		}
		page := shown.page(cmd, stdout)
		page.single = true
		return errors.Join(page.show([]register.Credential{*found}), page.end())
	}
	return cmd
}

func addAsker(flags *pflag.FlagSet, a *asking.Asker) {
	flags.StringVar(&a.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	flags.StringVar(&a.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
}

// chosenCredentials are the flags that choose.
type chosenCredentials struct {
	user, group, account, asker, method, issuer, expiring string
	expired                                               bool
}

func (c *chosenCredentials) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.user, "user", "", "For whom the credentials are.")
	flags.StringVar(&c.group, "group", "", "A group that they say.")
	flags.StringVar(&c.account, "serviceaccount", "", "The service account that they are for, as NAMESPACE/NAME.")
	flags.StringVar(&c.asker, "requested-by", "", "The user who asked for them.")
	flags.StringVar(&c.method, "method", "", "The kind: ServiceAccount, LegacyServiceAccount or X509.")
	flags.StringVar(&c.issuer, "issuer", "", "The issuer of tokens, or X509SHA256= and the fingerprint of a CA.")
	flags.StringVar(&c.expiring, "expiring", "", "What ends within a time, as 7d or 12h, or before one, as 2030-12-31T23:59:59Z.")
	flags.BoolVar(&c.expired, "expired", false, "What has ended, as far as it is still known, in place of what has not.")
}

func (c *chosenCredentials) selector(cmd *cobra.Command) (fields.Selector, error) {
	terms := []fields.Selector{fields.OneTermEqualSelector(register.FieldExpired, fmt.Sprint(c.expired))}
	if c.account != "" {
		namespace, name, ok := strings.Cut(c.account, "/")
		if !ok || namespace == "" || name == "" {
			return nil, usage(cmd, fmt.Sprintf("%q is no service account", c.account), "write it as NAMESPACE/NAME")
		}
		if c.user != "" {
			return nil, usage(cmd, "--user and --serviceaccount are both set", "give one of them")
		}
		c.user = identity.ServiceAccountPrefix + namespace + ":" + name
	}
	if c.method != "" {
		known := []identity.Method{identity.ServiceAccount, identity.LegacyServiceAccount, identity.ClientCertificate}
		if !slices.Contains(known, identity.Method(c.method)) {
			return nil, usage(cmd, fmt.Sprintf("nothing is issued of the method %q", c.method), "choose ServiceAccount, LegacyServiceAccount or X509")
		}
	}
	for _, term := range []struct{ field, value string }{
		{register.FieldUser, c.user}, {register.FieldGroup, c.group}, {register.FieldAsker, c.asker},
		{register.FieldMethod, c.method}, {register.FieldIssuer, c.issuer}, {register.FieldEndsBefore, c.expiring},
	} {
		if term.value != "" {
			terms = append(terms, fields.OneTermEqualSelector(term.field, term.value))
		}
	}
	all := fields.AndSelectors(terms...)
	if _, err := register.Choose(all, time.Now()); err != nil {
		return nil, usage(cmd, err.Error(), "write the time as 7d, 12h or 2030-12-31T23:59:59Z")
	}
	return all, nil
}
