package server

import (
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"

	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
)

const (
	// SnapshotPath is where the store can be saved from. Whoever may POST there
	// has everything that is stored, so only who may do everything has it.
	SnapshotPath = "/gatehouse/snapshot"
	// SnapshotKeysHeader names the keys at rest that a snapshot needs.
	SnapshotKeysHeader = "Gatehouse-Encryption-Keys"
	// stallTimeout cuts off a caller who takes nothing for so long. There is no
	// limit to the whole: a large store on a slow line is still a backup.
	stallTimeout = time.Minute
)

// serveSnapshot answers with the whole store, as etcd writes it, and our seal.
func (s *Server) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	stream, err := s.client.Snapshot(s.draining)
	if err != nil {
		s.log.ErrorContext(r.Context(), "saving a snapshot", "err", err)
		responsewriters.ErrorNegotiated(err, s.api.Codecs(), schema.GroupVersion{Version: "v1"}, w, r)
		return
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(SnapshotKeysHeader, strings.Join(s.material.claim.Encryption, ","))
	if err := snapshot.Copy(patient{w, http.NewResponseController(w)}, stream, begun, s.seal); err != nil {
		s.log.ErrorContext(r.Context(), "saving a snapshot", "err", err)
		// What was sent is no snapshot; only a cut connection says so.
		panic(http.ErrAbortHandler)
	}
}

// seal authenticates a snapshot with the key at rest that writes.
func (s *Server) seal(digest []byte) *snapshot.Seal {
	id, code := s.material.atRest.Seal(digest)
	if id == "" {
		return nil
	}
	return &snapshot.Seal{Key: string(id), Code: code}
}

// patient is a response that may take as long as it likes while it goes on.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (p patient) Write(b []byte) (int, error) {
	// The error means that the connection knows no deadlines, as in tests.
	_ = p.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	return p.ResponseWriter.Write(b)
}
