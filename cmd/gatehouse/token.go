package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/authn/statictoken"
)

// tokenLifetime is how long a token lives unless somebody says otherwise.
const tokenLifetime = "90d"

// newTokenCommand returns the commands of tokens.
func newTokenCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make tokens and lines of a token file, and look into credentials",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenNewCommand(stdout), newTokenHashCommand(stdout, stderr), newTokenInspectCommand(os.Stdin, stdout))
	return cmd
}

func newTokenNewCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --name NAME --user USER [flags]",
		Short: "Make a token, and the line for --hashed-token-file",
		Long: `Prints a token of 256 random bits on one line, and on the next the line for the
file that --hashed-token-file names. The token is nowhere else: it cannot be
found out again.`,
		Example: `  gatehouse token new --name ci --user ci-bot --group builders --expires 30d`,
		Args:    noArguments,
	}
	var line tokenLine
	line.addFlags(cmd.Flags())
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		token := statictoken.NewToken()
		text, err := line.of(cmd, token)
		if err != nil {
			return err
		}
		return output.write(stdout, newToken{Token: token, fileLine: fileLine{Line: text}})
	}
	return cmd
}

func newTokenHashCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hash --name NAME --user USER [flags]",
		Short: "Print the line of a token for --hashed-token-file",
		Long: `Reads a token, from the terminal without showing it or else from standard input,
and prints its line for the file that --hashed-token-file names. A token that is
not of at least 128 random bits in hexadecimal or base64, or does not look random,
is refused: it could be found by trying.`,
		Example: `  openssl rand -base64 32 | tee ci.token | gatehouse token hash --name ci --user ci-bot >>tokens.hashed`,
		Args:    noArguments,
	}
	var line tokenLine
	line.addFlags(cmd.Flags())
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		token, err := askSecret(cmd.InOrStdin(), stderr, "Token")
		if err != nil {
			return err
		}
		if err := statictoken.CheckToken(token); err != nil {
			return usage(cmd, err.Error(), "make one with gatehouse token new")
		}
		text, err := line.of(cmd, token)
		if err != nil {
			return err
		}
		return output.write(stdout, fileLine{Line: text})
	}
	return cmd
}

// A tokenLine is what the flags say of a token.
type tokenLine struct {
	statictoken.Line
	expires string
}

func (l *tokenLine) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&l.Name, "name", "", "The name of the token, which stands in audit events. Needed.")
	flags.StringVar(&l.User, "user", "", "The user that the token stands for. Needed.")
	flags.StringVar(&l.UID, "uid", "", "The UID of the user.")
	flags.StringArrayVar(&l.Groups, "group", nil, "A group of the user. May be repeated.")
	flags.StringVar(&l.expires, "expires", tokenLifetime, "How long the token lives, as in 30d or 12h, until when, as in 2030-12-31T23:59:59Z, or never.")
}

// of returns the line for a token.
func (l *tokenLine) of(cmd *cobra.Command, token string) (string, error) {
	if l.Name == "" || l.User == "" {
		return "", usage(cmd, "--name or --user is not set", "name both, as in "+cmd.CommandPath()+" --name ci --user ci-bot")
	}
	var err error
	if l.Expires, err = end(l.expires, time.Now()); err != nil {
		return "", usage(cmd, "--expires: "+err.Error(), "write it as 30d, 12h, 2030-12-31T23:59:59Z or never")
	}
	text, err := l.Of(token)
	if err != nil {
		return "", usage(cmd, err.Error(), "correct the flags")
	}
	return text, nil
}

// end returns when a lifetime ends that begins now, or zero if it never does.
func end(lifetime string, now time.Time) (time.Time, error) {
	if lifetime == "never" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, lifetime)
	if err != nil {
		lives, err := parseLifetime(lifetime)
		if err != nil {
			return time.Time{}, err
		}
		at = now.Add(lives).Truncate(time.Second)
	}
	if !at.After(now) {
		return time.Time{}, errors.New("that is over already")
	}
	return at.UTC(), nil
}

// parseLifetime reads a duration, or a number of days and a d.
func parseLifetime(text string) (time.Duration, error) {
	number, days := strings.CutSuffix(text, "d")
	if !days {
		lives, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is no time", text)
		}
		return lives, nil
	}
	const day = 24 * time.Hour
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n > math.MaxInt64/uint64(day) {
		return 0, fmt.Errorf("%q is no number of days", text)
	}
	return time.Duration(n) * day, nil
}

// A newToken is a token and its line.
type newToken struct {
	Token string `json:"token"`
	fileLine
}

func (t newToken) table(w io.Writer) error {
	if _, err := fmt.Fprintln(w, t.Token); err != nil {
		return err
	}
	return t.fileLine.table(w)
}
