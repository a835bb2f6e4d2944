package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/config/kubeapiserver"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// newImportCommand returns the commands that make a configuration of that of
// another program.
func newImportCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make a configuration of that of another program",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImportKubeAPIServerCommand(stdout, stderr))
	return cmd
}

func newImportKubeAPIServerCommand(stdout, stderr io.Writer) *cobra.Command {
	var output, dataDir string
	var strict bool
	cmd := &cobra.Command{
		Use:   "kube-apiserver FILE [flags]",
		Short: "Make a configuration of the flags of a kube-apiserver",
		Long: `Reads how a kube-apiserver is started, from its static Pod manifest or from a text
with its command line, and prints the configuration that does the same. What it
cannot take over it tells, with the reason, and writes as comments before the
configuration. A warning is of what may change somebody's access. FILE may be -
for standard input.`,
		Example: `  gatehouse import kube-apiserver /etc/kubernetes/manifests/kube-apiserver.yaml > gatehouse.yaml
  ps -o args= -C kube-apiserver | gatehouse import kube-apiserver - --strict`,
	}
	cmd.Flags().StringVar(&output, "output-file", "", "The file to write. Without it, standard output.")
	cmd.Flags().StringVar(&dataDir, "data-dir", "/var/lib/gatehouse", "The folder for the objects of the server. Those of the cluster stay where they are.")
	cmd.Flags().BoolVar(&strict, "strict", false, "Fail if there is a warning.")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(cmd, fmt.Sprintf("%d files are given", len(args)), "name one file, or - for standard input")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := readInput(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		command, err := kubeapiserver.Read(text)
		if err != nil {
			return &config.Problem{Where: args[0], What: err.Error(), Mend: "see gatehouse import kube-apiserver --help"}
		}
		result, err := kubeapiserver.Import(command, dataDir)
		if err != nil {
			return err
		}
		if err := result.Tell(stderr); err != nil {
			return err
		}
		var yaml bytes.Buffer
		if err := result.WriteYAML(&yaml, args[0]); err != nil {
			return err
		}
		if output != "" {
			err = wholefile.Write(output, yaml.Bytes(), 0o600)
		} else {
			_, err = stdout.Write(yaml.Bytes())
		}
		if err != nil {
			return err
		}
		if strict && result.Serious() {
			return &config.Problem{Where: args[0], What: "not everything could be taken over", Mend: "read the warnings, and change what they are about"}
		}
		return nil
	}
	return cmd
}

// readInput reads the file at path, or standard input for -. One byte more than
// is taken tells that it is too much.
func readInput(stdin io.Reader, path string) ([]byte, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, &config.Problem{Where: path, What: "cannot be read", Mend: "name a file that this user may read"}
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, kubeapiserver.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}
