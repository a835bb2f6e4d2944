package audit

import (
	"bufio"
	"context"
	"net"
	"net/http"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
)

// watchStatus returns w with the status code of the answer written into the
// event. If started, the event of stage ResponseStarted is written with it. The
// result can flush and be hijacked as far as w can: watches and exec need it.
func watchStatus(ctx context.Context, ac *audit.AuditContext, w http.ResponseWriter, started bool) http.ResponseWriter {
	return responsewriter.WrapForHTTP1Or2(&statusWriter{ResponseWriter: w, ctx: ctx, ac: ac, started: started})
}

// A statusWriter tells the audit context the status code, once.
type statusWriter struct {
	http.ResponseWriter
	ctx     context.Context
	ac      *audit.AuditContext
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
	s.ac.SetEventResponseStatusCode(int32(code))
	if s.started {
		s.ac.ProcessEventStage(s.ctx, auditinternal.StageResponseStarted)
	}
}
