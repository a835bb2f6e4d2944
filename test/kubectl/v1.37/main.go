// Command kubectl is kubectl 1.37, unmodified: the published module behind the
// main function that Kubernetes gives it. It exists so that the tests have a
// real client, of a known version, on a machine that has none.
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	// The login plugins of kubeconfig files, as in Kubernetes' own kubectl.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
