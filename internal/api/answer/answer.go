// Package answer writes the answers of those resources of gatehouse.dev that are
// served in front of the API: credentials and explanations.
//
// The idea is that they are to clients what the resources behind them are, which
// the generic server answers: a Status where something is wrong, and the first
// form of the header Accept that there is. There is only JSON. The generic server
// has no protobuf of our kinds either, so who prefers that gets the next form that
// he takes, as with resources that are defined by a CustomResourceDefinition.
//
// It refuses, with 406, who takes no JSON, and never tells a caller of an error
// that is no Status.
package answer

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A Form is what an answer looks like.
type Form int

// The forms.
const (
	Object Form = iota
	Table       // of meta.k8s.io/v1
)

// FormOf returns the first form that a request for a resource takes of those that
// are served, which a table may be or not. If it takes none, that is an error to
// [Fail] with.
func FormOf(r *http.Request, of schema.GroupResource, tables bool) (Form, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return Object, nil
	}
	for clause := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(clause)
		if err != nil || kind != "application/json" && kind != "application/*" && kind != "*/*" {
			continue
		}
		switch params["as"] {
		case "":
			return Object, nil
		case "Table":
			if tables && params["g"] == metav1.GroupName && params["v"] == "v1" {
				return Table, nil
			}
		}
	}
	also := ""
	if tables {
		also = ", and the Table of meta.k8s.io/v1 in it"
	}
	return 0, apierrors.NewGenericServerResponse(http.StatusNotAcceptable, strings.ToLower(r.Method), of, "",
		"only application/json is served"+also, 0, true)
}

// Write answers with body as JSON.
func Write(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encoding the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // fails only if the caller is gone
}

// Fail answers with the Status in err. It reports whether there is one; where
// there is none it has answered with other, and err is for the log.
func Fail(w http.ResponseWriter, err error, other *apierrors.StatusError) bool {
	var told apierrors.APIStatus = other
	found := errors.As(err, &told)
	status := told.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	Write(w, int(status.Code), &status)
	return found
}
