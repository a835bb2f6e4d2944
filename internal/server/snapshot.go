package server

import (
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
)

const (
	// snapshotPath is where the store can be saved from. Whoever may POST there
	// has everything that is stored, so only who may do everything has it.
	snapshotPath = "/gatehouse/snapshot"
	// SnapshotKeysHeader names the keys at rest that a snapshot needs.
	SnapshotKeysHeader = "Gatehouse-Encryption-Keys"
	// snapshotTimeout is in place of the request timeout.
	snapshotTimeout = 10 * time.Minute
)

// serveSnapshot answers with the whole store, as etcd writes it.
func (s *Server) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(snapshotTimeout))
	stream, err := s.client.Snapshot(s.draining)
	if err != nil {
		s.log.ErrorContext(r.Context(), "saving a snapshot", "err", err)
		responsewriters.ErrorNegotiated(err, s.api.Codecs(), schema.GroupVersion{Version: "v1"}, w, r)
		return
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(SnapshotKeysHeader, strings.Join(s.material.claim.Encryption, ","))
	if _, err := io.Copy(w, stream); err != nil {
		s.log.ErrorContext(r.Context(), "saving a snapshot", "err", err)
		// What was sent is no snapshot; only a cut connection says so.
		panic(http.ErrAbortHandler)
	}
}
