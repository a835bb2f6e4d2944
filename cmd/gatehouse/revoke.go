package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/server/asking"
)

// newRevokeCommand returns the commands that take back.
func newRevokeCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Take back a credential, or all that rests on somebody or something",
		Long: `Makes a Revocation on the server of the kubeconfig, which needs the right to create
revocations.gatehouse.dev. It is in force there when the command returns, on the
other servers of the same store within a second, and it ends what is open.

kubectl get revocations lists them. Deleting one lifts it, and is a right of its
own.`,
		Example: `  gatehouse revoke certificate jane.crt --reason keyCompromise
  gatehouse revoke token - <leaked.token
  gatehouse revoke user jane --message "left the company"
  gatehouse revoke user jane --issued-before 2026-03-01T12:00:00Z`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, kind := range revocableKinds(stdin) {
		cmd.AddCommand(kind.command(stdout))
	}
	return cmd
}

// revoking is what the flags say of a Revocation, besides what is revoked.
type revoking struct {
	asker                                     asking.Asker
	name, reason, message, until, before, out string
	force, dryRun                             bool
}

func (r *revoking) addFlags(flags *pflag.FlagSet, timed bool) {
	addAsker(flags, &r.asker)
	flags.StringVar(&r.name, "name", "", "The name of the Revocation. Without it, the server makes one.")
	flags.StringVar(&r.reason, "reason", string(v1alpha1.ReasonUnspecified), "Why, by the names of RFC 5280: "+reasons()+".")
	flags.StringVar(&r.message, "message", "", "Why, in words. Whoever may look at refusals reads it.")
	flags.StringVar(&r.until, "until", "", "When the Revocation ends, as in 30d or 12h or 2030-12-31T23:59:59Z; never before the credential. Without it, an hour after the credential, or never.")
	flags.BoolVar(&r.force, "force", false, "Revoke also what you act with yourself, or the last one who may do everything.")
	flags.BoolVar(&r.dryRun, "dry-run", false, "Have the server judge it, and revoke nothing.")
	flags.StringVarP(&r.out, "output", "o", "text", "The format: text, name, json or yaml.")
	if timed {
		flags.StringVar(&r.before, "issued-before", "", "Revoke only what was issued before a time, as in 2026-03-01T12:00:00Z, or now; and what does not say when it was.")
	}
}

func reasons() string {
	var names []string
	for _, r := range v1alpha1.Reasons() {
		names = append(names, string(r))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// fill writes what the flags say.
func (r *revoking) fill(cmd *cobra.Command, s *v1alpha1.RevocationSpec) error {
	if !slices.Contains([]string{"text", "name", "json", "yaml"}, r.out) {
		return usage(cmd, fmt.Sprintf("there is no format %q", r.out), "choose -o text, -o name, -o json or -o yaml")
	}
	s.Reason, s.Message, s.Force = v1alpha1.RevocationReason(r.reason), r.message, r.force
	if !slices.Contains(v1alpha1.Reasons(), s.Reason) {
		return usage(cmd, fmt.Sprintf("%q is no reason", r.reason), "choose "+reasons())
	}
	if r.until != "" {
		at, err := end(r.until, time.Now())
		if err != nil || at.IsZero() {
			return usage(cmd, fmt.Sprintf("--until: %q is no time to come", r.until), "write it as 30d, 12h or 2030-12-31T23:59:59Z")
		}
		s.ExpiresAt = &metav1.Time{Time: at}
	}
	if r.before == "" {
		return nil
	}
	at := time.Now()
	if r.before != "now" {
		var err error
		if at, err = time.Parse(time.RFC3339, r.before); err != nil {
			return usage(cmd, fmt.Sprintf("--issued-before: %q is no time", r.before), "write it as 2026-03-01T12:00:00Z, or now")
		}
	}
	// Times of issue are whole seconds: what was issued in this one is meant.
	s.IssuedBefore = &metav1.Time{Time: at.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)}
	return nil
}

// make has the server make it, and says what came of it.
func (r *revoking) make(cmd *cobra.Command, stdout io.Writer, kind string, s v1alpha1.RevocationSpec) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	made := &v1alpha1.Revocation{ObjectMeta: metav1.ObjectMeta{Name: r.name}, Spec: s}
	if r.name == "" {
		made.GenerateName = kind + "-"
	}
	found, err := r.asker.Revoke(ctx, made, r.dryRun)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "kubectl get revocations shows whether it was made before the interruption"}
		}
		if refusal, ok := errors.AsType[*asking.Refusal](err); ok && slices.Contains(refusal.Fields, "spec.force") {
			return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: mendLockingOut}
		}
		return explainAsking(cmd, err, "create revocations.gatehouse.dev; see gatehouse revoke --help")
	}
	return r.print(stdout, found)
}

// mendLockingOut is for who would revoke himself, or the last administrator.
const mendLockingOut = "act as somebody whom it does not hit, with --kubeconfig or --context; or add --force if you mean it"

func (r *revoking) print(stdout io.Writer, found *v1alpha1.Revocation) error {
	found.ManagedFields = nil // as kubectl shows it
	switch r.out {
	case "name":
		_, err := fmt.Fprintf(stdout, "revocation.%s/%s\n", v1alpha1.Group, found.Name)
		return err
	case "json":
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(found)
	case "yaml":
		text, err := yaml.Marshal(found)
		if err != nil {
			return err
		}
		_, err = stdout.Write(text)
		return err
	}
	verb, lift := "revoked", fmt.Sprintf("lift it with kubectl delete revocations.%s %s", v1alpha1.Group, found.Name)
	if r.dryRun {
		verb, lift = "would be revoked", "nothing was revoked: this is a dry run"
	}
	until := "until somebody deletes it"
	if found.Spec.ExpiresAt != nil {
		until = "until " + found.Spec.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if found.Spec.IssuedBefore != nil {
		until += ", what was issued before " + found.Spec.IssuedBefore.UTC().Format(time.RFC3339)
	}
	target := found.Spec.Target()
	if c := found.Spec.Certificate; c != nil && c.Chain != "" {
		target += " and its renewals"
	}
	_, err := fmt.Fprintf(stdout, "%s %s, %s\n%s\n", target, verb, until, lift)
	return err
}

// oneArgument wants one argument, which names what is revoked.
func oneArgument(what string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usage(cmd, fmt.Sprintf("%d arguments are given", len(args)), "give "+what)
		}
		return nil
	}
}
