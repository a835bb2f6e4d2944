//go:build !linux

package main

import (
	"io"

	"github.com/spf13/cobra"
)

// newRunCommands returns nothing: what gatehouse run needs is Linux' own.
func newRunCommands(io.Writer) []*cobra.Command { return nil }
