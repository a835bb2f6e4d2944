package audit

import (
	"net/http"

	"github.com/google/uuid"
)

// headerID is Audit-ID in the form that net/http keeps, so that no request pays
// for bringing it there.
const headerID = "Audit-Id"

// maxIDLength is what the library cuts an audit ID to in its own logs.
const maxIDLength = 64

// WithID returns next with an audit ID for each of its requests. The ID is in
// the Audit-ID header of the answer, where [Recorder] and whoever refers to it
// in an error message finds it, and is the caller's own if that one is fit to
// be written into logs: at most 64 letters, digits and -._: characters.
// Upstream takes any text of any length.
func WithID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(headerID)
		if !fitID(id) {
			id = uuid.NewString()
		}
		w.Header().Set(headerID, id)
		next.ServeHTTP(w, r)
	})
}

func fitID(id string) bool {
	if id == "" || len(id) > maxIDLength {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == ':':
		default:
			return false
		}
	}
	return true
}
