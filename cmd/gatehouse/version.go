package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of this program as the go command stamped it, or
// "devel" for one that was built from a working tree.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func newVersionCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  gatehouse version",
		Args:    noCommand,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(stdout, "gatehouse", release())
			return err
		},
	}
}
