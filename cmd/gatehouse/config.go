package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/server"
)

// newConfigCommand returns the commands that check and print a configuration
// as gatehouse serve would read it. Their result goes to stdout.
func newConfigCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or print the configuration of a server",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigValidateCommand(), newConfigViewCommand(stdout))
	return cmd
}

func newConfigValidateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate [FILE] [flags]",
		Short: "Say what is wrong with a configuration, if anything",
		Long: `Checks a file, the flags of gatehouse serve, or a file with flags over it, with
the code that gatehouse serve runs before it listens: every file that is named is
read as well. Nothing is made, and nobody is asked. Nothing is printed if all is
well.`,
		Example: `  gatehouse config validate gatehouse.yaml
  gatehouse config validate gatehouse.yaml --secure-port=8443`,
	}
	flags := config.AddFlags(cmd.Flags(), config.Default())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			return usage(cmd, fmt.Sprintf("%d files are given", len(args)), "check one file at a time")
		case len(args) == 1 && cmd.Flags().Changed("config"):
			return usage(cmd, "a file is given by name and by --config", "give it once")
		case len(args) == 0 && cmd.Flags().NFlag() == 0:
			return usage(cmd, "there is nothing to check", "name a file, as in gatehouse config validate gatehouse.yaml")
		case len(args) == 1:
			return cmd.Flags().Set("config", args[0])
		}
		return nil
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		c, err := flags.Load()
		if err != nil {
			return err
		}
		if err := c.Validate(); err != nil {
			return err
		}
		return server.Check(context.Background(), c)
	}
	return cmd
}

func newConfigViewCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "view [flags]",
		Short: "Print the configuration that is in effect",
		Long: `Prints what a file and flags come to, or the defaults alone, in the form of a
file. As YAML every field has its meaning, its flag and its default as a
comment. A configuration names secrets only by their files, so none is printed.`,
		Example: `  gatehouse config view --defaults > gatehouse.yaml
  gatehouse config view --config gatehouse.yaml --secure-port=8443 -o json`,
	}
	var output string
	var defaults bool
	flags := config.AddFlags(cmd.Flags(), config.Default())
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "The format: yaml or json.")
	cmd.Flags().BoolVar(&defaults, "defaults", false, "Print the defaults alone.")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		own := 0
		for _, name := range []string{"defaults", "output"} {
			if cmd.Flags().Changed(name) {
				own++
			}
		}
		switch {
		case len(args) > 0:
			return usage(cmd, fmt.Sprintf("%q is not a flag", args[0]), "name a file with --config")
		case output != "yaml" && output != "json":
			return usage(cmd, fmt.Sprintf("there is no format %q", output), "choose -o yaml or -o json")
		case defaults && cmd.Flags().NFlag() > own:
			return usage(cmd, "--defaults leaves no room for other settings", "remove it, or the others")
		}
		return nil
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		c, err := flags.Load()
		if err != nil {
			return err
		}
		if output == "json" {
			return c.WriteJSON(stdout)
		}
		return c.WriteYAML(stdout)
	}
	return cmd
}

// usage returns the error of a command line that cannot be understood.
func usage(cmd *cobra.Command, what, mend string) error {
	return usageError{&config.Problem{Where: cmd.CommandPath(), What: what, Mend: mend}}
}
