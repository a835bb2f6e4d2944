package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/internal/server/asking"
)

// maxCredential bounds what is read of a file with a credential.
const maxCredential = 256 << 10

// newExplainCommand returns the command that says why a request was refused.
func newExplainCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [REQUEST-ID | AUDIT-ID] [flags]",
		Short: "Say why a request was refused, or would be",
		Long: `Asks the server of the kubeconfig why it has answered a request with 401 or 403,
with 503 because nobody could look at the credential, or with 400 because the
headers of impersonation cannot be read. That needs the right to get
explanations.gatehouse.dev. The ID is in the header
Gatehouse-Request-Id of the answer, in the log and in the audit event; the audit
ID will do, but whoever likes can repeat it, so that it may find several.

With --token-file or --cert it asks instead what would be said of a credential,
which needs the right to create them. The credential goes to the server in the
body of a request, is judged there, and goes nowhere else.

It shows each authenticator in the order in which they are asked, what it has
found and compared, and what would mend it; then what the caller may do, and
which rules nearly allow it.`,
		Example: `  gatehouse explain 5j3mvwqk7dpl2zxcytbn4ghras --kubeconfig gatehouse-data/admin.kubeconfig
  gatehouse explain --token-file bad.token --as-request GET:/api/v1/namespaces/default/pods`,
	}
	asker := &asking.Asker{}
	tried := &triedCredential{stdin: stdin}
	cmd.Flags().StringVar(&asker.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	cmd.Flags().StringVar(&asker.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	cmd.Flags().StringVar(&tried.token, "token-file", "", "A file with a bearer token to judge, or - for standard input.")
	cmd.Flags().StringVar(&tried.cert, "cert", "", "A file with a client certificate to judge in PEM form, with its intermediates.")
	cmd.Flags().StringVar(&tried.request, "as-request", "", "The request that it would come with, as METHOD:/path.")
	var format string
	cmd.Flags().StringVarP(&format, "output", "o", "text", "The format: text or json.")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if format != "text" && format != "json" {
			return usage(cmd, fmt.Sprintf("there is no format %q", format), "choose -o text or -o json")
		}
		return tried.check(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		spec, err := tried.spec()
		if err != nil {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "give a file with a token, or with a certificate in PEM form"}
		}
		var found *explain.Explanation
		if len(args) == 1 {
			found, err = asker.Find(ctx, args[0])
		} else {
			found, err = asker.Try(ctx, spec)
		}
		if err != nil {
			return explainAsking(cmd, err, "get or create explanations.gatehouse.dev")
		}
		if format == "json" {
			encoder := json.NewEncoder(stdout)
			encoder.SetIndent("", "  ")
			return encoder.Encode(found)
		}
		file, ok := stdout.(*os.File)
		page := explain.Page{Colour: ok && term.IsTerminal(int(file.Fd()))}
		return page.Write(stdout, found)
	}
	return cmd
}

// A triedCredential is what is to be judged, if it is no request of before.
type triedCredential struct {
	stdin                io.Reader
	token, cert, request string
}

func (t *triedCredential) check(cmd *cobra.Command, args []string) error {
	credential := t.token != "" || t.cert != ""
	switch {
	case len(args) > 1:
		return usage(cmd, fmt.Sprintf("%d IDs are given", len(args)), "ask for one at a time")
	case len(args) == 1 && (credential || t.request != ""):
		return usage(cmd, "an ID leaves no room for a credential or a request", "give the ID alone, or the credential alone")
	case len(args) == 0 && !credential:
		return usage(cmd, "there is nothing to explain", "give a request ID, an audit ID, --token-file or --cert")
	}
	if method, path, ok := strings.Cut(t.request, ":"); t.request != "" && (!ok || method == "" || !strings.HasPrefix(path, "/")) {
		return usage(cmd, fmt.Sprintf("%q is no request", t.request), "write it as METHOD:/path, such as GET:/api/v1/nodes")
	}
	return nil
}

// spec reads the files, and returns what is asked.
func (t *triedCredential) spec() (*explain.Spec, error) {
	spec := &explain.Spec{}
	if t.token != "" {
		text, err := readCredential(t.token, t.stdin)
		if err != nil {
			return nil, err
		}
		spec.Token = strings.TrimRight(string(text), "\r\n")
	}
	if t.cert != "" {
		text, err := readCredential(t.cert, t.stdin)
		if err != nil {
			return nil, err
		}
		if spec.Certificate, err = onlyCertificates(text); err != nil {
			return nil, fmt.Errorf("%s: %w", t.cert, err)
		}
	}
	if method, path, ok := strings.Cut(t.request, ":"); ok {
		spec.AsRequest = &explain.AsRequest{Method: method, Path: path}
	}
	return spec, nil
}

// readCredential reads a file, or standard input for -.
func readCredential(name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxCredential+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(text) > maxCredential {
		return nil, fmt.Errorf("%s has more than %d bytes, so it is no credential", name, maxCredential)
	}
	return text, nil
}
