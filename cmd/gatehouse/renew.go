package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/holding"
)

// hookTimeout is how long a command of --exec may take.
const hookTimeout = time.Minute

// A reloadHook tells who uses a certificate that there is another one.
type reloadHook struct {
	command         string
	signal, pidFile string
	output          io.Writer
}

func newCertRenewCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "renew (--dir DIR | --file FILE) [flags]",
		Short: "Renew a certificate by itself, without another approval",
		Long: `Asks the server of the kubeconfig for another certificate with a new key, for the
same subject, names and usages, as whom the present certificate stands for. Where
the signer renews certificates nobody has to approve it. Certificate and key are
replaced in one step.

With --watch it goes on: it renews when 70 to 80 % of the life of the certificate
are over, tries again until it ends, and tells whoever uses it.`,
		Example: `  gatehouse cert renew --dir jane --kubeconfig jane.kubeconfig
  gatehouse cert renew --watch --dir /etc/nginx/tls --signer example.com/web --exec 'systemctl reload nginx'`,
		Args: noArguments,
	}
	var at certPlace
	at.addFlags(cmd.Flags())
	hook := reloadHook{output: stderr}
	var watch bool
	cmd.Flags().BoolVar(&watch, "watch", false, "Go on renewing until the process is stopped.")
	cmd.Flags().StringVar(&hook.command, "exec", "", "A command for sh to run after each renewal.")
	cmd.Flags().StringVar(&hook.signal, "signal", "", "A signal to send after each renewal, such as HUP, to the process of --pid-file.")
	cmd.Flags().StringVar(&hook.pidFile, "pid-file", "", "The file with the number of that process.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lifetime, err := at.check(cmd)
		if err != nil {
			return err
		}
		if err := hook.check(cmd); err != nil {
			return err
		}
		held, err := at.place.Read()
		if err != nil {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "name what gatehouse cert request has made"}
		}
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		renew := func(ctx context.Context, held *tls.Certificate) (*x509.Certificate, error) {
			return at.renew(ctx, held, lifetime, stderr)
		}
		if !watch {
			return renewOnce(ctx, cmd, &at, held, &hook, renew, stdout)
		}
		keeper := &holding.Keeper{
			Read: at.place.Read, Renew: renew, Renewed: hook.run,
			Say: func(format string, args ...any) {
				fmt.Fprintf(stderr, time.Now().Format(time.RFC3339)+" "+format+"\n", args...)
			},
		}
		if err := keeper.Keep(ctx); err != nil {
			return explainCert(cmd, err)
		}
		return nil
	}
	return cmd
}

func renewOnce(ctx context.Context, cmd *cobra.Command, at *certPlace, held *tls.Certificate, hook *reloadHook,
	renew func(context.Context, *tls.Certificate) (*x509.Certificate, error), stdout io.Writer,
) error {
	if now := time.Now(); !now.Before(held.Leaf.NotAfter) {
		return explainCert(cmd, fmt.Errorf("%w at %s", holding.ErrExpired, held.Leaf.NotAfter.Format(time.RFC3339)))
	}
	cert, err := renew(ctx, held)
	if err != nil {
		return explainCert(cmd, err)
	}
	if err := hook.run(ctx, cert); err != nil {
		return &config.Problem{
			Where: cmd.CommandPath(), What: fmt.Sprintf("the certificate is renewed, but telling its user of it failed: %v", err),
			Mend: "correct --exec, or --signal and --pid-file, and tell the user by hand this time",
		}
	}
	_, err = fmt.Fprintf(stdout, "%s is for %s until %s\n", at.place, cert.Subject, cert.NotAfter.Format(time.RFC3339))
	return err
}

// renew asks as whom held stands for.
func (c *certPlace) renew(ctx context.Context, held *tls.Certificate, lifetime time.Duration, stderr io.Writer) (*x509.Certificate, error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	order, err := holding.Renewal(held.Leaf, c.signer, lifetime, c.key)
	if err != nil {
		return nil, err
	}
	requests, err := c.way.Requests(held)
	if err != nil {
		return nil, err
	}
	holder, shown := c.holder(stderr)
	defer shown.end()
	return holder.Obtain(ctx, requests, order)
}

func (h *reloadHook) check(cmd *cobra.Command) error {
	if (h.signal == "") != (h.pidFile == "") {
		return usage(cmd, "--signal or --pid-file is given alone", "give both, or use --exec")
	}
	if h.signal != "" && !slices.Contains(signals(), h.signal) {
		return usage(cmd, fmt.Sprintf("--signal: there is no %q here", h.signal), "choose from "+strings.Join(signals(), ", ")+", or use --exec")
	}
	return nil
}

// run tells of the new certificate.
func (h *reloadHook) run(ctx context.Context, _ *x509.Certificate) error {
	if h.signal != "" {
		text, err := os.ReadFile(h.pidFile)
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 1 {
			return fmt.Errorf("%s has no number of a process", h.pidFile)
		}
		if err := send(pid, h.signal); err != nil {
			return fmt.Errorf("sending %s to process %d: %w", h.signal, pid, err)
		}
	}
	if h.command == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-c", h.command)
	command.Stdout, command.Stderr = h.output, h.output
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		return fmt.Errorf("running %q: %w", h.command, err)
	}
	return nil
}
