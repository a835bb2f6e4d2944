package audit

import (
	"io"
	"sync"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
)

// usualLine is the room, in bytes, that nearly every event at Metadata fits
// into, and largestLine what a buffer may have grown to and still be kept.
const (
	usualLine   = 2 << 10
	largestLine = 64 << 10
)

// A logFile writes events as lines of JSON, one write each, as the library's
// backend does. It encodes them itself; those that it cannot encode, it leaves
// to the library's.
type logFile struct {
	audit.Backend
	out io.Writer
	// lines are the buffers, by pointer, and encoded those of records.
	lines, encoded sync.Pool
}

func newLogFile(out io.Writer) *logFile {
	return &logFile{
		Backend: pluginlog.NewBackend(out, pluginlog.FormatJson, auditv1.SchemeGroupVersion),
		out:     out,
		lines: sync.Pool{New: func() any {
			line := make([]byte, 0, usualLine)
			return &line
		}},
		encoded: sync.Pool{New: func() any {
			return &encoded{shared: make([]byte, 0, usualLine), line: make([]byte, 0, usualLine)}
		}},
	}
}

// ProcessEvents reports whether all events were written.
func (l *logFile) ProcessEvents(events ...*auditinternal.Event) bool {
	ok := true
	for _, e := range events {
		ok = l.write(e) && ok
	}
	return ok
}

func (l *logFile) write(e *auditinternal.Event) bool {
	line := l.lines.Get().(*[]byte)
	defer func() {
		if cap(*line) <= largestLine {
			l.lines.Put(line)
		}
	}()
	var encoded bool
	if *line, encoded = appendEvent((*line)[:0], e); !encoded {
		return l.Backend.ProcessEvents(e)
	}
	if _, err := l.out.Write(*line); err != nil {
		audit.HandlePluginError(pluginlog.PluginName, err, e)
		return false
	}
	return true
}
