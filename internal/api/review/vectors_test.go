package review_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/vectors"
)

// Every text of the JSON test suite in each place of a review. The quick way
// never decodes what the library would not, nor to anything else, and what is no
// JSON is never answered.
func TestReviewsReadJSON(t *testing.T) {
	h := newHandler(t, newWorld())
	for _, place := range []struct {
		kind, path, body string
		unknown          bool // the member is one that nobody reads
	}{
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":{"token":%}}`, false},
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":{"token":"` + goodToken + `","audiences":%}}`, false},
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":{"token":"` + goodToken + `"},"metadata":%}`, false},
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":%}`, false},
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":{"token":"` + goodToken + `","more":%}}`, true},
		{"TokenReview", tokenPath, `{` + tokenType + `,"spec":{"token":"` + goodToken + `"},"status":{"user":%}}`, false},
		{"SubjectAccessReview", accessPath, `{` + accessType + `,"spec":{"user":"jane","groups":["a",%],"nonResourceAttributes":{"path":"/","verb":"get"}}}`, false},
		{"SubjectAccessReview", accessPath, `{` + accessType + `,"spec":{"user":"jane","extra":{"k":["a",%]},"nonResourceAttributes":{"path":"/","verb":"get"}}}`, false},
		{"SubjectAccessReview", accessPath, `{` + accessType + `,"spec":{"user":"jane","resourceAttributes":{"verb":%}}}`, false},
		{"SubjectAccessReview", accessPath, `{` + accessType + `,"spec":{"user":"jane","nonResourceAttributes":{"path":"/","verb":"get"},"more":%}}`, true},
		{"SubjectAccessReview", accessPath, `%`, false},
	} {
		answered := 0
		for name, text := range vectors.JSON(t).Parsing {
			body := strings.Replace(place.body, "%", string(text), 1)
			quick := checkQuick(t, h, place.kind, body)
			w, _ := postJSON(h, place.path, body)
			if name[0] == 'n' && (quick || w.Code != http.StatusBadRequest) {
				t.Errorf("%s: %.100q: code %d, decoded quickly: %v", name, body, w.Code, quick)
			}
			if name[0] == 'y' && place.unknown && w.Code != http.StatusCreated {
				t.Errorf("%s: %.100q: code %d, %s", name, body, w.Code, w.Body)
			}
			if w.Code == http.StatusCreated {
				answered++
			}
		}
		if place.unknown && answered < 95 {
			t.Errorf("%s: %d were answered", place.body, answered)
		}
	}
}
