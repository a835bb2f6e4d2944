package ocsp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxRequest bounds a question, in bytes. One about a certificate has about 100.
const maxRequest = 4 << 10

// A Handler answers over HTTP (RFC 6960 appendix A), for any number of
// authorities.
type Handler struct {
	// Path is what comes before the question in the path of a GET, with a slash
	// at its end.
	Path       string
	Responders []*Responder
	Log        *slog.Logger
}

// ServeHTTP answers a POST with the question as its body, or a GET with it in
// its path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, err := h.read(r)
	if err != nil {
		h.write(w, ocsp.MalformedRequestErrorResponse)
		return
	}
	request, err := ocsp.ParseRequest(question)
	if err != nil {
		h.write(w, ocsp.MalformedRequestErrorResponse)
		return
	}
	for _, responder := range h.Responders {
		if !responder.asks(request) {
			continue
		}
		now := time.Now()
		made, err := responder.answer(r.Context(), request, now)
		switch {
		case errors.Is(err, ErrUnknown):
			h.write(w, ocsp.UnauthorizedErrorResponse)
		case err != nil:
			h.Log.Error("answering whether a certificate is revoked", "err", err)
			h.write(w, ocsp.TryLaterErrorResponse)
		default:
			fresh(w.Header(), made, now, r.Method == http.MethodGet)
			h.write(w, made.der)
		}
		return
	}
	h.write(w, ocsp.UnauthorizedErrorResponse)
}

// fresh lets caches keep the answer to a GET for as long as it is handed out
// here (RFC 5019 section 6.2).
func fresh(header http.Header, made answer, now time.Time, get bool) {
	if !get {
		return
	}
	left := max(0, made.from.Add(Lifetime/2).Sub(now))
	header.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform, must-revalidate", int(left.Seconds())))
	header.Set("Last-Modified", made.from.UTC().Format(http.TimeFormat))
	header.Set("Expires", made.until.UTC().Format(http.TimeFormat))
}

// read returns the question of a request, in DER form.
func (h *Handler) read(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
		if err == nil && len(body) > maxRequest {
			err = errors.New("the question is too long")
		}
		return body, err
	}
	text, ok := strings.CutPrefix(r.URL.EscapedPath(), h.Path)
	if !ok || len(text) > 2*maxRequest {
		return nil, errors.New("there is no question in the path")
	}
	text, err := url.PathUnescape(text)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

func (h *Handler) write(w http.ResponseWriter, der []byte) {
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(der)
}
