package audit

import (
	"encoding/json"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

// lastApplied is where kubectl keeps the whole object that it was given.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ofSecrets reports whether ref refers to a Secret or several.
func ofSecrets(ref *auditinternal.ObjectReference) bool {
	return ref != nil && ref.APIGroup == "" && ref.Resource == "secrets"
}

// hideValues returns object, which is a Secret, a list of them, a patch of one
// or a Status, with all values of Secrets replaced, and their keys as they were.
// An object that cannot be understood is left out altogether: a Secret may be
// anywhere in it. What is returned is always encoded anew, so that nothing of
// the original is left that a second look would read in another way.
func hideValues(object *runtime.Unknown) *runtime.Unknown {
	if object == nil {
		return nil
	}
	var all map[string]any
	if json.Unmarshal(object.Raw, &all) != nil || all == nil || all["kind"] == "Table" {
		return nil
	}
	if all["kind"] == "Status" {
		return hideInStatus(object)
	}
	hideIn(all)
	if items, found := all["items"]; found {
		list, ok := items.([]any)
		if !ok {
			return nil
		}
		for _, item := range list {
			one, ok := item.(map[string]any)
			if !ok {
				return nil
			}
			hideIn(one)
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	hidden := *object
	hidden.Raw = raw
	return &hidden
}

// hideIn replaces the values of one Secret. A name in another case is a typing
// error in a patch, and has a secret below it all the same.
func hideIn(secret map[string]any) {
	for field := range secret {
		if !strings.EqualFold(field, "data") && !strings.EqualFold(field, "stringData") {
			continue
		}
		values, ok := secret[field].(map[string]any)
		if !ok && secret[field] != nil {
			secret[field] = redacted
		}
		for key, value := range values {
			// A patch removes a key with null, which tells nothing.
			if value != nil {
				values[key] = redacted
			}
		}
	}
	meta, _ := secret["metadata"].(map[string]any)
	if annotations, _ := meta["annotations"].(map[string]any); annotations[lastApplied] != nil {
		annotations[lastApplied] = redacted
	}
}

// hideInStatus returns object, which is a Status, without what it may quote.
func hideInStatus(object *runtime.Unknown) *runtime.Unknown {
	var status metav1.Status
	if json.Unmarshal(object.Raw, &status) != nil {
		return nil
	}
	raw, err := json.Marshal(withoutQuotes(&status))
	if err != nil {
		return nil
	}
	hidden := *object
	hidden.Raw = raw
	return &hidden
}

// withoutQuotes returns status, which answers a request for Secrets, or a copy
// without its words if they may quote one.
func withoutQuotes(status *metav1.Status) *metav1.Status {
	if status == nil || !quotes(status) {
		return status
	}
	c := status.DeepCopy()
	c.Message = redacted
	if c.Details != nil {
		for i := range c.Details.Causes {
			c.Details.Causes[i].Message = redacted
		}
	}
	return c
}

// quotes reports whether the words of a refusal may be the library's about a
// body that it could not make an object of. Then they are the whole object that
// a patch led to, a value of the wrong type, or the beginning of the body. What
// names a kind is from a validation, and those say nothing of the values.
func quotes(status *metav1.Status) bool {
	if status.Code < http.StatusBadRequest {
		return false
	}
	switch status.Reason {
	case metav1.StatusReasonInvalid:
		return status.Details == nil || status.Details.Kind == ""
	case metav1.StatusReasonBadRequest, metav1.StatusReasonInternalError, metav1.StatusReasonUnknown:
		return true
	}
	return false
}
