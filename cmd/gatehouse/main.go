// Command gatehouse is the Kubernetes front door as one binary. A file here is
// a command, and only wires up what the packages below can do.
//
// The result of a command goes to standard output, and everything else to
// standard error, as lines that begin with "error: " and "hint: ". The exit
// code is 0, 1 for what went wrong, and 2 for a command line that cannot be
// understood. Where the result is a program, the exit code is the program's.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run runs the command that args ask for, and returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newCommand(stdout, stderr)
	root.SetArgs(args)
	return report(root.Execute(), stderr)
}

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "gatehouse",
		Short:         "The Kubernetes front door on its own",
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{config.ExplainFlag(cmd.Flags(), err)}
	})
	root.AddCommand(
		newUpCommand(stdout, stderr), newServeCommand(stderr),
		newAdminCommand(stdout), newConfigCommand(stdout), newImportCommand(stdout, stderr), newVersionCommand(stdout),
		newSnapshotCommand(stdout, stderr), newMigrateCommand(stdout, stderr), newEncryptionCommand(stdout, stderr),
		newPasswordCommand(stdout, stderr), newTokenCommand(stdout, stderr),
		newSigningKeysCommand(stdout), newExplainCommand(os.Stdin, stdout), newCertCommand(stdout, stderr), newCredentialsCommand(stdout), newWebhookCommand(stdout),
		newRevokeCommand(os.Stdin, stdout),
		newNodeCommand(os.Stdin, stdout, stderr),
	)
	root.AddCommand(newRunCommands(stderr)...)
	return root
}

// An exitError is an exit code of its own. Without an error there is nothing to
// say.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// A usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// noCommand refuses what would be the name of a command if there were one.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	mend := cmd.CommandPath() + " --help lists the commands"
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if near := strictyaml.Nearest(args[0], names); near != "" {
		mend = fmt.Sprintf("did you mean %s %s? %s", cmd.CommandPath(), near, mend)
	}
	return usageError{&config.Problem{
		Where: cmd.CommandPath(), What: fmt.Sprintf("there is no command %q", args[0]), Mend: mend,
	}}
}

// report writes err and returns the exit code that stands for it.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	exit, coded := errors.AsType[exitError](err)
	if coded && exit.error == nil {
		return exit.code
	}
	problems := config.Problems(err)
	for _, p := range problems {
		fmt.Fprintf(stderr, "error: %s: %s\nhint: %s\n", p.Where, p.What, p.Mend)
	}
	if len(problems) == 0 {
		fmt.Fprintf(stderr, "error: %v\n", err)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	if coded {
		return exit.code
	}
	return 1
}
