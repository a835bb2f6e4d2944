package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/inspect"
	"gatehouse.dev/gatehouse/internal/issuers"
)

func newTokenInspectCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect [FILE] [flags]",
		Short: "Say what is in a token or a certificate, without judging it",
		Long: `Reads a token or a client certificate in PEM form, from a file or from standard
input, and says what it says of itself. It is sent nowhere, and not verified. What
would let somebody in is not printed: no signature, and no text of a token that
has no form.

With --config, or flags of the server, it also says which of the sources that are
configured would take it.`,
		Example: `  kubectl create token default | gatehouse token inspect --config gatehouse.yaml
  gatehouse token inspect client.crt -o json`,
	}
	flags := config.AddFlags(cmd.Flags(), config.Default())
	output := addOutput(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage(cmd, fmt.Sprintf("%d files are given", len(args)), "look at one at a time")
		}
		return output.check(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := "-"
		if len(args) == 1 {
			name = args[0]
		}
		text, err := readCredential(name, stdin)
		if err != nil {
			return err
		}
		credential, err := inspect.Read(text)
		if err != nil {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "give one token, or a certificate in PEM form"}
		}
		if cmd.Flags().NFlag() > 1 || cmd.Flags().NFlag() == 1 && !cmd.Flags().Changed("output") {
			cfg, err := flags.Load()
			if err != nil {
				return err
			}
			sources, err := sourcesOf(cfg)
			if err != nil {
				return err
			}
			if err := sources.Find(credential); err != nil {
				return err
			}
		}
		return output.write(stdout, inspected{credential})
	}
	return cmd
}

// sourcesOf returns who takes credentials, by a configuration.
func sourcesOf(cfg *config.Configuration) (*inspect.Sources, error) {
	a := &cfg.Authentication
	s := &inspect.Sources{Accounts: cfg.ServiceAccounts.Issuers, Bootstrap: a.BootstrapTokens}
	if len(s.Accounts) == 0 {
		s.Accounts = []string{defaultIssuer} // the flags are those of gatehouse up
	}
	for _, taker := range []struct{ flag, file string }{ // in the order in which they are asked
		{"--token-auth-file", a.TokenFile}, {"--hashed-token-file", a.HashedTokenFile},
		{"--authentication-token-webhook-config-file", a.Webhook.ConfigFile},
	} {
		if taker.file != "" {
			s.Opaque = append(s.Opaque, taker.flag+" "+taker.file)
		}
	}
	if dir := cfg.Storage.DataDir; dir != "" && len(cfg.Storage.Etcd.Servers) == 0 {
		if own := filepath.Join(dir, "ca.crt"); exists(own) {
			s.Authorities = append(s.Authorities, own)
		}
	}
	for _, file := range []string{a.ClientCAFile, a.RequestHeader.ClientCAFile} {
		if file != "" {
			s.Authorities = append(s.Authorities, file)
		}
	}
	described, configured := cfg.Issuers()
	if !configured {
		return s, nil
	}
	urls, err := issuers.URLs(described)
	s.JWT = urls
	return s, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

type inspected struct{ *inspect.Credential }

func (i inspected) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	when := func(at *time.Time) string {
		if at == nil {
			return ""
		}
		return at.Format(time.RFC3339)
	}
	for _, field := range []struct{ what, value string }{
		{"kind", i.Kind}, {"issuer", i.Issuer}, {"subject", i.Subject}, {"groups", strings.Join(i.Groups, ", ")},
		{"audiences", strings.Join(i.Audiences, ", ")}, {"bound to", strings.Join(i.BoundTo, "; ")},
		{"issued at", when(i.IssuedAt)}, {"not before", when(i.NotBefore)}, {"expires", when(i.Expires)},
		{"algorithm", i.Algorithm}, {"key ID", i.KeyID}, {"credential ID", i.CredentialID},
		{"usages", strings.Join(i.Usages, ", ")}, {"claims", strings.Join(i.Claims, ", ")},
		{"flaws", strings.Join(i.Flaws, "; ")}, {"source", i.Source},
	} {
		if field.value != "" {
			fmt.Fprintf(t, "%s\t%s\n", field.what, onOneLine(field.value))
		}
	}
	return t.Flush()
}

// onOneLine keeps what a credential says from moving the cursor.
func onOneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// onlyCertificates leaves the certificates of a PEM text, so that a key that is
// in the same file is sent nowhere.
func onlyCertificates(text []byte) (string, error) {
	var kept []byte
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			kept = append(kept, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	if len(kept) == 0 {
		return "", errors.New("there is no certificate in PEM form")
	}
	return string(kept), nil
}
