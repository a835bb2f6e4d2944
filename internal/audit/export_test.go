package audit

import (
	"io"

	"k8s.io/apiserver/pkg/audit"
)

// Inner names for the tests.
var (
	AppendEvent     = appendEvent
	AppendString    = appendString
	HideAccessToken = hideAccessToken
	HideToken       = hideToken
	HideValues      = hideValues
	Printable       = printable
	ReadPolicy      = readPolicy
)

// NewDirect returns a trail whose records write themselves to out, where that is
// allowed, and that goes by policy.
func NewDirect(out io.Writer, policy audit.PolicyRuleEvaluator) (*Trail, error) {
	t, err := New(DefaultConfig())
	if err != nil {
		return nil, err
	}
	t.policy, t.lines = policy, newLogFile(out)
	t.backend = discreet{t.lines}
	return t, nil
}

// NewOver returns a trail over a backend.
func NewOver(b audit.Backend) (*Trail, error) {
	t, err := New(DefaultConfig())
	if err == nil {
		t.backend = b
	}
	return t, err
}
