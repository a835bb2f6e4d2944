package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"gatehouse.dev/gatehouse/internal/audit"
)

// FuzzPolicy reads any text as a policy. What is accepted gives every request
// one of the four levels.
func FuzzPolicy(f *testing.F) {
	f.Add("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
	f.Add("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: None, users: [a], verbs: [get], resources: [{group: '', resources: ['pods/*', '*/log'], resourceNames: [x]}]}\n- {level: Request, nonResourceURLs: ['/api*', '*']}\n")
	f.Add("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")
	f.Add("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: metadata}]\n")
	path := filepath.Join(f.TempDir(), "policy.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		policy, err := audit.ReadPolicy(path)
		if err != nil {
			return
		}
		for _, a := range []authorizer.AttributesRecord{
			{User: &user.DefaultInfo{Name: "a", Groups: []string{"b"}}, Verb: "get", ResourceRequest: true, Resource: "pods", Subresource: "log", Name: "x"},
			{User: &user.DefaultInfo{}, Verb: "get", Path: "/api"},
		} {
			switch level := policy.EvaluatePolicyRule(a).Level; level {
			case auditinternal.LevelNone, auditinternal.LevelMetadata, auditinternal.LevelRequest, auditinternal.LevelRequestResponse:
			default:
				t.Errorf("level %q", level)
			}
		}
	})
}
