package joining_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// infoOf is the cluster-info of a server with so many bytes beside it.
func infoOf(f *fake, beside int) *corev1.ConfigMap {
	info := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: map[string]string{"beside": strings.Repeat("x", beside)}}
	for key, value := range f.info {
		info.Data[key] = value
	}
	return info
}

// Who answers first may be anybody. He does not decide how much is read, where
// the machine goes next, or what its terminal is told.
func TestStrangersAnswers(t *testing.T) {
	reached := false
	elsewhere := newFake(t)
	elsewhere.introduce = func(w http.ResponseWriter, _ *http.Request) { reached = true }
	saying := func(code int, message string) func(*fake) http.HandlerFunc {
		return func(*fake) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				s := status(code)
				s.Message = message
				answer(w, code, s)
			}
		}
	}
	for name, tt := range map[string]struct {
		introduce func(*fake) http.HandlerFunc
		want      string
	}{
		"too long": {func(f *fake) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, infoOf(f, 4<<20)) }
		}, "it answers with more than 4194304 bytes"},
		"without end": {func(*fake) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			}
		}, "it answers with more than 4194304 bytes"},
		"a redirect": {func(*fake) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			}
		}, "it redirects to"},
		"a long refusal":           {saying(403, strings.Repeat("x", 1<<20)), "asking https://127.0.0.1"},
		"a refusal for a terminal": {saying(403, "\x1b]0;hello\a"), `\x1b]0;hello\a`},
		"lines of its own":         {saying(404, "gone\nerror: all is well"), `gone\nerror: all is well`},
		"no object":                {func(*fake) http.HandlerFunc { return func(http.ResponseWriter, *http.Request) {} }, "asking https://127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.introduce = tt.introduce(f)
			err := f.node(t).Join(t.Context())
			refused(t, err, tt.want)
			if text := err.Error(); len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("tells %d bytes: %.1000q", len(text), text)
			}
			if len(f.tokens) > 0 || reached {
				t.Errorf("somebody is asked who is not known: %q, elsewhere %t", f.tokens, reached)
			}
		})
	}
	for name, beside := range map[string]int{"short": 0, "as long as can be": 4<<20 - 4096} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.introduce = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Warning", `299 - "listen to me"`)
				answer(w, 200, infoOf(f, beside))
			}
			if err := f.node(t).Join(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
