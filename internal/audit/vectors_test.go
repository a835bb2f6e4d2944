package audit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/test/vectors"
)

// Whatever stands where a secret is meant to be, it is taken out; an object that
// cannot be read is left out as a whole.
func TestSecretsAreHiddenInJSON(t *testing.T) {
	for name, text := range vectors.JSON(t).Parsing {
		for body, hide := range map[string]func(*runtime.Unknown) *runtime.Unknown{
			`{"spec":{"token":%}}`:    func(o *runtime.Unknown) *runtime.Unknown { return audit.HideToken(o, "spec") },
			`{"data":{"password":%}}`: audit.HideValues,
		} {
			raw := strings.Replace(body, "%", string(text), 1)
			out := hide(&runtime.Unknown{Raw: []byte(raw)})
			if out == nil {
				if name[0] == 'y' {
					t.Errorf("%s: %.100q is left out", name, raw)
				}
				continue
			}
			var left map[string]map[string]any
			err := json.Unmarshal(out.Raw, &left)
			for _, section := range left {
				for _, secret := range section {
					if secret != "[redacted]" && secret != nil && secret != "" {
						t.Errorf("%s: %.100q: left %v", name, raw, secret)
					}
				}
			}
			if err != nil || name[0] == 'n' {
				t.Errorf("%s: %.100q is recorded as %.100q", name, raw, out.Raw)
			}
		}
	}
}

// Every text of the JSON test suite in a policy, in which nothing is allowed that
// is not known.
func TestPoliciesReadJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	for _, document := range []string{"%", `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"None"}],"more":%}`} {
		taken := vectors.JSON(t).Check(t, document, false, func(text []byte) error {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := audit.ReadPolicy(path)
			return err
		})
		if taken > 0 {
			t.Errorf("%s: %d texts are taken", document, taken)
		}
	}
}
