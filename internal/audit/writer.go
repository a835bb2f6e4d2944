package audit

import (
	"bufio"
	"context"
	"net"
	"net/http"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
)

// watchStatus returns w with the status code of the answer written into the
// record. If started, the event of stage ResponseStarted is written with it. The
// result can flush and be hijacked as far as w can: watches and exec need it.
func (rec *Record) watchStatus(ctx context.Context, w http.ResponseWriter, started bool) http.ResponseWriter {
	rec.writer = statusWriter{ResponseWriter: w, ctx: ctx, rec: rec, started: started}
	return responsewriter.WrapForHTTP1Or2(&rec.writer)
}

// A statusWriter tells the record the status code, once.
type statusWriter struct {
	http.ResponseWriter
	ctx     context.Context
	rec     *Record
	started bool
	told    bool
}

// Unwrap serves http.ResponseController and the library's wrapper.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusWriter) WriteHeader(code int) {
	// 1xx answers other than a switch of protocols come before the real one.
	if code >= http.StatusOK || code == http.StatusSwitchingProtocols {
		s.tell(code)
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *statusWriter) Write(p []byte) (int, error) {
	s.tell(http.StatusOK)
	return s.ResponseWriter.Write(p)
}

// Hijack is called only if the writer inside can be hijacked.
func (s *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.tell(http.StatusSwitchingProtocols)
	return http.NewResponseController(s.ResponseWriter).Hijack()
}

func (s *statusWriter) tell(code int) {
	if s.told {
		return
	}
	s.told = true
	s.rec.answered(code)
	if s.started {
		s.rec.handlers.ProcessEventStage(s.ctx, auditinternal.StageResponseStarted)
	}
}
