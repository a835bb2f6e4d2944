package answer_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/api/answer"
)

var things = schema.GroupResource{Group: "gatehouse.dev", Resource: "things"}

func TestFormOf(t *testing.T) {
	const (
		table    = "application/json;as=Table;v=v1;g=meta.k8s.io"
		protobuf = "application/vnd.kubernetes.protobuf"
	)
	for _, tt := range []struct {
		name   string
		accept []string
		tables bool
		want   string // "" if it is refused
	}{
		{"nothing", nil, true, "object"},
		{"an empty header", []string{""}, true, "object"},
		{"JSON", []string{"application/json"}, false, "object"},
		{"anything", []string{"*/*"}, false, "object"},
		{"any application", []string{"text/html, application/*;q=0.8"}, false, "object"},
		{"as client-go with protobuf", []string{protobuf + ",application/json"}, false, "object"},
		{"in two headers", []string{protobuf, "application/json"}, false, "object"},
		{"as kubectl get", []string{table + ",application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"}, true, "table"},
		{"as kubectl get, where there are no tables", []string{table + ",application/json"}, false, "object"},
		{"an old table, or JSON", []string{"application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"}, true, "object"},

		{"protobuf", []string{protobuf}, true, ""},
		{"protobuf of lists", []string{protobuf + ";as=Table;v=v1;g=meta.k8s.io"}, true, ""},
		{"YAML", []string{"application/yaml"}, true, ""},
		{"HTML", []string{"text/html"}, false, ""},
		{"any text", []string{"text/*"}, false, ""},
		{"CBOR", []string{"application/cbor"}, true, ""},
		{"a table alone, where there are none", []string{table}, false, ""},
		{"an old table alone", []string{"application/json;as=Table;v=v1beta1;g=meta.k8s.io"}, true, ""},
		{"a table of another group", []string{"application/json;as=Table;v=v1;g=example.org"}, true, ""},
		{"metadata alone", []string{"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}, true, ""},
		{"no media type", []string{";;"}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Accept"] = tt.accept
			form, err := answer.FormOf(r, things, tt.tables)
			if tt.want == "" {
				if !apierrors.IsNotAcceptable(err) || !strings.Contains(err.Error(), "only application/json is served") || strings.Contains(err.Error(), "Table") != tt.tables {
					t.Errorf("%v, %v, want 406", form, err)
				}
				return
			}
			if got := map[answer.Form]string{answer.Object: "object", answer.Table: "table"}[form]; err != nil || got != tt.want {
				t.Errorf("%s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

// A Status is told wherever in an error it is; nothing else of an error is.
func TestFail(t *testing.T) {
	other := apierrors.NewInternalError(errors.New("the store could not be asked"))
	for _, tt := range []struct {
		name  string
		err   error
		found bool
		code  int
		says  string
	}{
		{"status", apierrors.NewNotFound(things, "x"), true, 404, `things.gatehouse.dev \"x\" not found`},
		{"inside", fmt.Errorf("s3cret: %w", apierrors.NewBadRequest("no")), true, 400, `"message":"no"`},
		{"another error", errors.New("s3cret"), false, 500, "the store could not be asked"},
		{"two others", errors.Join(errors.New("s3cret"), http.ErrAbortHandler), false, 500, "the store could not be asked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if found := answer.Fail(w, tt.err, other); found != tt.found || w.Code != tt.code {
				t.Errorf("%v, %d", found, w.Code)
			}
			if text := w.Body.String(); !strings.HasPrefix(text, `{"kind":"Status","apiVersion":"v1",`) || !strings.Contains(text, tt.says) || strings.Contains(text, "s3cret") {
				t.Errorf("told %s", text)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("of type %q", got)
			}
		})
	}
}
