package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/holding"
)

// newCertCommand returns the commands of who wants a certificate.
func newCertCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Get a certificate from a server, and keep it renewed",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCertRequestCommand(stdout, stderr), newCertRenewCommand(stdout, stderr))
	return cmd
}

// A certPlace is what both commands have: where the pair is, which server, and
// which signer.
type certPlace struct {
	place    holding.Place
	way      holding.Way
	signer   string
	key      string
	lifetime string
	timeout  time.Duration
}

func (c *certPlace) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.place.Dir, "dir", "", "The folder for tls.crt and tls.key, which change in one step as in a kubelet's volume.")
	flags.StringVar(&c.place.File, "file", "", "One file for both instead, the certificate before the key, in PEM form.")
	flags.StringVar(&c.way.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	flags.StringVar(&c.way.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	flags.StringVar(&c.signer, "signer", certificatesv1.KubeAPIServerClientSignerName, "The signer.")
	flags.StringVar(&c.key, "key", holding.ECDSA, "The kind of key that is made: ecdsa (P-256), rsa (3072 bits) or ed25519.")
	flags.StringVar(&c.lifetime, "lifetime", "", "How long the certificate shall live, as in 12h or 30d, at least 10m. Without it, as long as the signer likes.")
	flags.DurationVar(&c.timeout, "timeout", 0, "How long to wait for the approval. Without it, until it is there.")
}

// check returns the lifetime.
func (c *certPlace) check(cmd *cobra.Command) (time.Duration, error) {
	if (c.place.Dir == "") == (c.place.File == "") {
		return 0, usage(cmd, "where to keep the certificate is not said, or twice", "give --dir or --file")
	}
	if kinds := []string{holding.ECDSA, holding.RSA, holding.Ed25519}; !slices.Contains(kinds, c.key) {
		return 0, usage(cmd, fmt.Sprintf("--key: there is no kind of key %q", c.key), "choose "+strings.Join(kinds[:2], ", ")+" or "+kinds[2])
	}
	if c.lifetime == "" {
		return 0, nil
	}
	lifetime, err := parseLifetime(c.lifetime)
	if err == nil && lifetime < 10*time.Minute {
		err = fmt.Errorf("%s is less than 10m, which the API wants", c.lifetime)
	}
	if err != nil {
		return 0, usage(cmd, "--lifetime: "+err.Error(), "write it as 30d or 12h")
	}
	return lifetime, nil
}

// limited is ctx, for as long as the flags say.
func (c *certPlace) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("nobody has approved it within %v", c.timeout))
}

// holder says on stderr what it waits for, and what to type.
func (c *certPlace) holder(stderr io.Writer) (*holding.Holder, *progress) {
	shown, told := newProgress(stderr), ""
	return &holding.Holder{Place: c.place, Waiting: func(name string, since time.Duration) {
		// What is approved without a person takes a moment.
		if told != name && since > time.Second {
			fmt.Fprintf(stderr, "the request %s waits for its approval: kubectl certificate approve %s\n", name, name)
			told = name
		}
		shown.say("waiting for the approval of %s, for %v", name, since.Round(time.Second))
	}}, shown
}

// A certSubject is what is to be certified.
type certSubject struct {
	user                   string
	groups                 []string
	dns, ips, emails, uris []string
	usages                 []string
}

func newCertRequestCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request --user NAME (--dir DIR | --file FILE) [flags]",
		Short: "Make a key, ask for its certificate, and wait for the approval",
		Long: `Makes a key and asks the server of the kubeconfig for a certificate, by a
CertificateSigningRequest. The key stays on this machine. Then it waits until the
request is approved and signed, and puts certificate and key into their place.

Whoever is interrupted while waiting goes on with the same request by calling it
again; one for something else does not take its place. It needs the right to
create and to get certificatesigningrequests.`,
		Example: `  gatehouse cert request --user jane --group dev --dir jane --lifetime 24h
  gatehouse cert request --user web --dns web.example.org --usage 'server auth' --signer example.com/web --file web.pem`,
		Args: noArguments,
	}
	var at certPlace
	var of certSubject
	at.addFlags(cmd.Flags())
	of.addFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lifetime, err := at.check(cmd)
		if err != nil {
			return err
		}
		order, err := of.order(cmd)
		if err != nil {
			return err
		}
		order.Signer, order.Key, order.Lifetime = at.signer, at.key, lifetime
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		ctx, cancel := at.limited(ctx)
		defer cancel()
		requests, err := at.way.Requests(nil)
		if err != nil {
			return explainCert(cmd, err)
		}
		holder, shown := at.holder(stderr)
		cert, err := holder.Obtain(ctx, requests, order)
		shown.end()
		if err != nil {
			return explainCert(cmd, err)
		}
		_, err = fmt.Fprintf(stdout, "%s is for %s until %s\n", at.place, cert.Subject, cert.NotAfter.Format(time.RFC3339))
		return err
	}
	return cmd
}

func (s *certSubject) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.user, "user", "", "The common name, which is the user of a client. Needed.")
	flags.StringArrayVar(&s.groups, "group", nil, "An organization, which is a group of a client. May be repeated.")
	flags.StringArrayVar(&s.dns, "dns", nil, "A DNS name. May be repeated.")
	flags.StringArrayVar(&s.ips, "ip", nil, "An IP address. May be repeated.")
	flags.StringArrayVar(&s.emails, "email", nil, "An email address. May be repeated.")
	flags.StringArrayVar(&s.uris, "uri", nil, "A URI. May be repeated.")
	flags.StringArrayVar(&s.usages, "usage", []string{"digital signature", "client auth"}, "A usage, by its name in Kubernetes. May be repeated.")
}

func (s *certSubject) order(cmd *cobra.Command) (*holding.Order, error) {
	if s.user == "" {
		return nil, usage(cmd, "--user is not set", "name whom the certificate is for, as in "+cmd.CommandPath()+" --user jane --dir jane")
	}
	o := &holding.Order{CommonName: s.user, Organizations: s.groups, DNSNames: s.dns, EmailAddresses: s.emails}
	for _, text := range s.ips {
		ip := net.ParseIP(text)
		if ip == nil {
			return nil, usage(cmd, fmt.Sprintf("--ip: %q is no IP address", text), "write it as 192.0.2.1 or 2001:db8::1")
		}
		o.IPAddresses = append(o.IPAddresses, ip)
	}
	for _, text := range s.uris {
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "" {
			return nil, usage(cmd, fmt.Sprintf("--uri: %q is no URI", text), "write it as spiffe://example.org/jane")
		}
		o.URIs = append(o.URIs, u)
	}
	for _, usage := range s.usages {
		o.Usages = append(o.Usages, certificatesv1.KeyUsage(usage))
	}
	return o, nil
}

// explainCert adds to an error what can be done about it.
func explainCert(cmd *cobra.Command, err error) error {
	hint := mendAsking(err, "create and get certificatesigningrequests")
	other, waits := errors.AsType[*holding.PendingError](err)
	switch {
	case waits:
		hint = "call this with what was asked for, to go on with that; or remove " + other.File + ", and its key with it, to give that up"
	case unwritable(err):
		hint = "name a place that this user may write to, with --dir or --file"
	case errors.Is(err, holding.ErrDenied):
		hint = "ask who has denied it; calling this again makes another request"
	case errors.Is(err, holding.ErrFailed):
		hint = "ask for what the signer signs: see docs/certificates.md"
	case errors.Is(err, holding.ErrGone):
		hint = "call this again: it makes another request"
	case errors.Is(err, holding.ErrExpired):
		hint = "ask for another one with gatehouse cert request"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "nobody has approved"):
		hint = "have it approved with kubectl certificate approve, and call this again: it goes on with the same request"
	}
	return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: hint}
}

// unwritable reports whether an error is of the place for the certificate.
func unwritable(err error) bool {
	if says(err, "reading kubeconfig: ") || errors.As(err, new(*url.Error)) {
		return false
	}
	return slices.ContainsFunc([]error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS, syscall.ENOSPC},
		func(local error) bool { return errors.Is(err, local) })
}
