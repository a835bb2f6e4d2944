package credential

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/answer"
	"gatehouse.dev/gatehouse/internal/register"
)

// includedIn returns what the rows of a table are to have besides their cells.
func includedIn(query url.Values) metav1.IncludeObjectPolicy {
	switch p := metav1.IncludeObjectPolicy(query.Get("includeObject")); p {
	case metav1.IncludeNone, metav1.IncludeObject:
		return p
	default:
		return metav1.IncludeMetadata
	}
}

// errBegun is wrapped by errors of an answer that has begun.
var errBegun = errors.New("after the answer has begun")

// A writer writes a list or a table, some entries at a time. Nothing is sent
// before the first of them.
type writer struct {
	to      http.ResponseWriter
	out     *bufio.Writer
	form    answer.Form
	include metav1.IncludeObjectPolicy
	now     time.Time
	written int
	begun   bool
}

func newWriter(w http.ResponseWriter, f answer.Form, include metav1.IncludeObjectPolicy, now time.Time) *writer {
	return &writer{to: w, out: bufio.NewWriterSize(w, 32<<10), form: f, include: include, now: now}
}

func (w *writer) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	w.to.Header().Set("Content-Type", "application/json")
	if w.form == answer.Table {
		columns, err := json.Marshal(Columns())
		if err != nil {
			return fmt.Errorf("encoding the columns: %w", err)
		}
		_, err = fmt.Fprintf(w.out, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":%s,"rows":[`, columns)
		return err
	}
	_, err := fmt.Fprintf(w.out, `{"kind":"%sList","apiVersion":"%s/%s","items":[`, register.Kind, register.Group, register.Version)
	return err
}

// show writes entries.
func (w *writer) show(entries []*register.Entry) error {
	if err := w.begin(); err != nil {
		return err
	}
	for _, e := range entries {
		var item any = e.Object()
		if w.form == answer.Table {
			item = w.row(e)
		}
		text, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("encoding an entry: %w", err)
		}
		if w.written > 0 {
			w.out.WriteByte(',') // an error stays, and Write returns it
		}
		if _, err := w.out.Write(text); err != nil {
			return err
		}
		w.written++
	}
	return nil
}

// end writes what is known at the end. The order of fields means nothing.
func (w *writer) end(meta metav1.ListMeta) error {
	if err := w.begin(); err != nil {
		return err
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encoding the end of a list: %w", err)
	}
	fmt.Fprintf(w.out, "],\"metadata\":%s}\n", text)
	_ = w.out.Flush() // fails only if the caller is gone
	return nil
}

// broken returns why a list could not be written to its end.
func (w *writer) broken(err error) error {
	if w.begun {
		return fmt.Errorf("%w: %w", errBegun, err)
	}
	return err
}
