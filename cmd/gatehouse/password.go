package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse.dev/gatehouse/authn/password"
)

// newPasswordCommand returns the commands of password files.
func newPasswordCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Make lines of a password file",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPasswordHashCommand(stdout, stderr))
	return cmd
}

func newPasswordHashCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hash --user NAME [flags]",
		Short: "Print the line of a user for --htpasswd-file",
		Long: `Reads a password, from the terminal without showing it or else from standard
input, and prints the line of the user for the file that --htpasswd-file names.
The password itself is nowhere in it.`,
		Example: `  gatehouse password hash --user jane >>users.htpasswd
  pass show jane | gatehouse password hash --user jane`,
		Args: noArguments,
	}
	var user, algorithm string
	cmd.Flags().StringVar(&user, "user", "", "The name of the user. Needed.")
	cmd.Flags().StringVar(&algorithm, "algorithm", password.Algorithms()[0], "The algorithm of the hash: "+strings.Join(password.Algorithms(), " or ")+".")
	output := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := output.check(cmd); err != nil {
			return err
		}
		if user == "" {
			return usage(cmd, "--user is not set", "name the user, as in "+cmd.CommandPath()+" --user jane")
		}
		secret, err := askSecret(cmd.InOrStdin(), stderr, "Password of "+user)
		if err != nil {
			return err
		}
		line, err := password.Line(user, secret, algorithm)
		if err != nil {
			return usage(cmd, err.Error(), "choose another one; "+cmd.CommandPath()+" --help says what is read")
		}
		return output.write(stdout, fileLine{Line: line})
	}
	return cmd
}

// A fileLine is a line for a file.
type fileLine struct {
	Line string `json:"line"`
}

func (l fileLine) table(w io.Writer) error {
	_, err := fmt.Fprintln(w, l.Line)
	return err
}

// noArguments refuses arguments: a secret among them would be seen by everybody
// on the machine. So it is not repeated.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "it takes no arguments", "give what is secret on standard input, where nobody else sees it")
	}
	return nil
}

// mostSecret is far more than any password or token.
const mostSecret = 64 << 10

// askSecret reads a secret: twice from a terminal, without showing it, or else
// all of standard input but the line break at its end.
func askSecret(in io.Reader, stderr io.Writer, what string) (string, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		first, err := askTerminal(file, stderr, what)
		if err != nil {
			return "", err
		}
		again, err := askTerminal(file, stderr, "Once more")
		if err != nil {
			return "", err
		}
		if !bytes.Equal(first, again) {
			return "", errors.New("the two are not the same")
		}
		return string(first), nil
	}
	data, err := io.ReadAll(io.LimitReader(in, mostSecret+1))
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	if len(data) > mostSecret {
		return "", errors.New("standard input has more than 64 KiB, and is no secret")
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

func askTerminal(file *os.File, stderr io.Writer, prompt string) ([]byte, error) {
	fmt.Fprint(stderr, prompt+": ")
	secret, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(stderr)
	if err != nil {
		return nil, fmt.Errorf("reading from the terminal: %w", err)
	}
	return secret, nil
}
