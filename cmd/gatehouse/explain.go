package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/explain"
	"gatehouse.dev/gatehouse/internal/fieldname"
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
body of a request, is judged there, and goes nowhere else. With --header the
request has headers besides, as those of an authenticating proxy, whose
certificate --cert has then, or of impersonation.

It shows each authenticator in the order in which they are asked, what it has
found and compared, and what would mend it; then what the caller may do, and
which rules nearly allow it.`,
		Example: `  gatehouse explain 5j3mvwqk7dpl2zxcytbn4ghras --kubeconfig gatehouse-data/admin.kubeconfig
  gatehouse explain --token-file bad.token --as-request GET:/api/v1/namespaces/default/pods
  gatehouse explain --cert proxy.crt --header 'X-Remote-User: jane' --header 'X-Remote-Group: dev'
  gatehouse explain --token-file my.token --header 'Impersonate-User: jane' --as-request GET:/api/v1/nodes`,
	}
	asker := &asking.Asker{}
	tried := &triedCredential{stdin: stdin}
	cmd.Flags().StringVar(&asker.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	cmd.Flags().StringVar(&asker.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	tried.flags(cmd.Flags())
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
	headers              []string // as NAME: VALUE
}

func (t *triedCredential) flags(flags *pflag.FlagSet) {
	flags.StringVar(&t.token, "token-file", "", "A file with a bearer token to judge, or - for standard input.")
	flags.StringVar(&t.cert, "cert", "", "A file with a client certificate to judge in PEM form, with its intermediates.")
	flags.StringArrayVar(&t.headers, "header", nil, "A header of the request, as 'NAME: VALUE'. It may be given several times.")
	flags.StringVar(&t.request, "as-request", "", "The request that it would come with, as METHOD:/path.")
}

func (t *triedCredential) check(cmd *cobra.Command, args []string) error {
	credential := t.token != "" || t.cert != "" || len(t.headers) > 0
	switch {
	case len(args) > 1:
		return usage(cmd, fmt.Sprintf("%d IDs are given", len(args)), "ask for one at a time")
	case len(args) == 1 && (credential || t.request != ""):
		return usage(cmd, "an ID leaves no room for a credential, a header or a request", "give the ID alone, or what is to be judged without it")
	case len(args) == 0 && !credential:
		return usage(cmd, "there is nothing to explain", "give a request ID, an audit ID, --token-file, --cert or --header")
	}
	for _, h := range t.headers {
		if err := t.checkHeader(cmd, h); err != nil {
			return err
		}
	}
	if method, path, ok := strings.Cut(t.request, ":"); t.request != "" && (!ok || method == "" || !strings.HasPrefix(path, "/")) {
		return usage(cmd, fmt.Sprintf("%q is no request", t.request), "write it as METHOD:/path, such as GET:/api/v1/nodes")
	}
	return nil
}

// checkHeader refuses a header that cannot be meant. It repeats no value: there is
// no telling what somebody took for a header.
func (t *triedCredential) checkHeader(cmd *cobra.Command, text string) error {
	name, value, ok := headerOf(text)
	switch {
	case !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(tokenChars, r) }):
		return usage(cmd, "a --header has no name", "write it as 'NAME: VALUE', such as 'X-Remote-User: jane'")
	case strings.ContainsFunc(value, unicode.IsControl):
		return usage(cmd, fmt.Sprintf("the header %s has control characters", name), "leave them out: no request could have them")
	case fieldname.Equal(name, "Authorization"), fieldname.Equal(name, "Sec-WebSocket-Protocol"):
		return usage(cmd, fmt.Sprintf("the header %s is for a credential, and every process of the machine can read an argument", name), "give a token with --token-file")
	case t.request == "" && impersonation.Claims(name):
		return usage(cmd, fmt.Sprintf("the header %s has the caller act as somebody else, and whether he may depends on what for", name), "say it with --as-request")
	}
	return nil
}

// tokenChars are those of a field name (RFC 9110 section 5.6.2).
const tokenChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// headerOf returns the parts of NAME: VALUE.
func headerOf(text string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(text, ":")
	return name, strings.Trim(value, " \t"), ok
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
	if len(t.headers) > 0 {
		spec.Headers = http.Header{}
	}
	for _, h := range t.headers {
		name, value, _ := headerOf(h)
		spec.Headers[name] = append(spec.Headers[name], value)
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
