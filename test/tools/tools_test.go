package tools_test

import (
	"os/exec"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/tools"
)

func TestKubectl(t *testing.T) {
	for _, test := range []struct{ minor, want string }{
		{"1.28", `gitVersion: v1.28.15`},
		{"1.37", `gitVersion: v1.37.2`},
	} {
		t.Run(test.minor, func(t *testing.T) {
			out, err := exec.Command(tools.Kubectl(t, test.minor), "version", "--client", "-o", "yaml").CombinedOutput()
			if err != nil {
				t.Fatalf("running kubectl version: %v\n%s", err, out)
			}
			if !strings.Contains(string(out), test.want) {
				t.Errorf("kubectl %s says of itself:\n%s", test.minor, out)
			}
		})
	}
}

func TestForeign(t *testing.T) {
	for _, test := range []struct{ path, argument, want string }{
		{tools.Dex(t), "version", "Dex Version"},
		{tools.Kubelogin(t), "--help", "get-token"},
	} {
		out, err := exec.Command(test.path, test.argument).CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%s says of itself: %v\n%s", test.path, err, out)
		}
	}
}
