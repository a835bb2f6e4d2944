package review_test

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	kubejson "sigs.k8s.io/json"

	"gatehouse.dev/gatehouse/internal/api/review"
)

// checkQuick holds the quick way to the library: what it decodes, the library
// decodes without an error, strict ones included, to the same.
func checkQuick(t *testing.T, h *review.Handler, kind, body string) bool {
	t.Helper()
	quick, want := h.Quick(kind, []byte(body))
	if quick == nil {
		return false
	}
	strict, err := kubejson.UnmarshalStrict([]byte(body), want)
	if err != nil || len(strict) > 0 {
		t.Errorf("%s: decoded, and the library says %v, %v", body, err, strict)
	}
	if !reflect.DeepEqual(quick, want) {
		t.Errorf("%s: got %+v, the library %+v", body, quick, want)
	}
	if gvk := want.GetObjectKind().GroupVersionKind(); gvk.Kind != kind || gvk.Version != "v1" {
		t.Errorf("%s: decoded as %s", body, gvk)
	}
	return true
}

const (
	tokenType  = `"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"`
	accessType = `"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1"`
	selfType   = `"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1"`
	localType  = `"kind":"LocalSubjectAccessReview","apiVersion":"authorization.k8s.io/v1"`
)

func quickBodies() []struct {
	kind, body string
	quick      bool
} {
	return []struct {
		kind, body string
		quick      bool
	}{
		// As clients write them.
		{"TokenReview", `{` + tokenType + `,"metadata":{"creationTimestamp":null},"spec":{"token":"abc"},"status":{"user":{}}}` + "\n", true},
		{"TokenReview", `{` + tokenType + `,"metadata":{},"spec":{"token":"abc","audiences":["a","b"]},"status":{"user":{}}}`, true},
		{"TokenReview", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",` + "\n\t" + `"spec": {"token": "abc"}}`, true},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"resourceAttributes":{"namespace":"n","verb":"get","group":"g","version":"v","resource":"r","subresource":"s","name":"x"},"user":"jane","groups":["a"],"uid":"1","extra":{"k":["v","w"],"l":[]}},"status":{"allowed":false}}`, true},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"nonResourceAttributes":{"path":"/","verb":"get"},"groups":[],"extra":{}}}`, true},
		{"SelfSubjectAccessReview", `{` + selfType + `,"spec":{"resourceAttributes":{}},"status":{}}`, true},
		{"LocalSubjectAccessReview", `{` + localType + `,"spec":{"user":"jane"}}`, true},
		// For the serializer, right or wrong.
		{"TokenReview", ``, false},
		{"TokenReview", `{}`, false},
		{"TokenReview", `{"spec":{"token":"abc"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc"}} x`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc"}}` + "\x00", false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc"},}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc"}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc"},"spec":{"token":"abd"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc","token":"abd"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc","Token":"abd"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"a\u0062c"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"a\"bc"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abc` + "\t" + `"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"abcdefgh` + "\x1f" + `ijklmnop"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"Grüße"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":"` + "\xff" + `"}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":null}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"token":1}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":null}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"audiences":null}}`, false},
		{"TokenReview", `{` + tokenType + `,"spec":{"audiences":["a",]}}`, false},
		{"TokenReview", `{` + tokenType + `,"status":{"authenticated":true}}`, false},
		{"TokenReview", `{` + tokenType + `,"status":{"user":{"username":"admin"}}}`, false},
		{"TokenReview", `{` + tokenType + `,"metadata":{"name":"a"}}`, false},
		{"TokenReview", `{` + accessType + `,"spec":{}}`, false},
		{"TokenReview", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","spec":{}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"group":["a"]}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"extra":{"k":["v"],"k":["w"]}}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"extra":{"k":null}}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"resourceAttributes":null}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"spec":{"resourceAttributes":{"labelSelector":{"rawSelector":"a"}}}}`, false},
		{"SubjectAccessReview", `{` + accessType + `,"status":{"allowed":true}}`, false},
		{"SelfSubjectAccessReview", `{` + selfType + `,"spec":{"user":"jane"}}`, false},
	}
}

func TestQuickIsTheLibrarys(t *testing.T) {
	h := newHandler(t, newWorld())
	for _, tt := range quickBodies() {
		if got := checkQuick(t, h, tt.kind, tt.body); got != tt.quick {
			t.Errorf("%s: decoded %v, want %v", tt.body, got, tt.quick)
		}
	}
}

func FuzzQuick(f *testing.F) {
	for i, tt := range quickBodies() {
		f.Add(uint8(i), []byte(tt.body))
	}
	h := newHandler(f, newWorld())
	kinds := review.Kinds()
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		checkQuick(t, h, kinds[int(kind)%len(kinds)], string(body))
	})
}

// White space is found wherever it is, also in words of eight bytes.
func FuzzHasSpace(f *testing.F) {
	for _, s := range []string{"", " ", "abcdefgh", "abcdefg h", "abcdefghi\t", "\u2003", "abcdefg\u00a0", "\xa0", strings.Repeat("x", 99) + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if got, want := review.HasSpace(token), strings.ContainsFunc(token, unicode.IsSpace); got != want {
			t.Errorf("%q: %v, want %v", token, got, want)
		}
	})
}
