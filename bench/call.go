package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

// A writer takes an answer as the one of net/http's HTTP/2 server does, which
// can be flushed and has deadlines, and throws it away or keeps it.
type writer struct {
	header http.Header
	status int
	keep   bool
	body   bytes.Buffer
	gone   chan bool
}

func newWriter(keep bool) *writer {
	return &writer{header: http.Header{}, keep: keep, gone: make(chan bool)}
}

func (w *writer) Header() http.Header { return w.header }
func (w *writer) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.keep {
		w.body.Write(p)
	}
	return len(p), nil
}

func (w *writer) Flush()                           {}
func (w *writer) CloseNotify() <-chan bool         { return w.gone }
func (w *writer) SetReadDeadline(time.Time) error  { return nil }
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

func (w *writer) reset() {
	clear(w.header)
	w.status = 0
}

// A call is one request that is made over and over.
type call struct {
	request *http.Request
	header  http.Header
	body    []byte
	reader  *bytes.Reader
	closer  io.ReadCloser
	want    int
	cancel  context.CancelFunc // ends the connection
}

// serve makes the request n times at h. A filter on the way takes headers out
// of the request, so they are put back each time.
func (c *call) serve(h http.Handler, n int) {
	w := newWriter(false)
	for range n {
		c.prepare()
		w.reset()
		h.ServeHTTP(w, c.request)
		if w.status != c.want {
			panic(fmt.Sprintf("%s %s: %d, want %d", c.request.Method, c.request.URL, w.status, c.want))
		}
	}
}

// answer makes the request once, and returns what comes back.
func (c *call) answer(h http.Handler) (int, []byte) {
	w := newWriter(true)
	c.prepare()
	h.ServeHTTP(w, c.request)
	return w.status, w.body.Bytes()
}

func (c *call) prepare() {
	maps.Copy(c.request.Header, c.header)
	c.reader.Reset(c.body)
	c.request.Body = c.closer
}
