package siege

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// streams is how many requests a liar with HTTP/2 has in flight.
const streams = 50

// liars send tokens with a good key ID and a bad signature, each of them
// another one, as fast as they are answered. Half of them open a connection for
// each; the others send many at once over HTTP/2.
func liars(ctx context.Context, f *Force, ready func()) {
	ready()
	each(f.Count, func(i int) {
		for ctx.Err() == nil {
			if i%2 == 0 {
				f.lieOnce(ctx, i)
			} else {
				f.lieAtOnce(ctx, i)
			}
		}
	})
}

// lie returns the token with another signature.
func (f *Force) lie() string {
	dot := strings.LastIndexByte(f.Token, '.')
	signature := make([]byte, base64.RawURLEncoding.DecodedLen(len(f.Token)-dot-1))
	_, _ = rand.Read(signature)
	return f.Token[:dot+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func (f *Force) lieOnce(ctx context.Context, i int) {
	conn, err := f.dialTLS(ctx, i, "http/1.1")
	if err != nil {
		f.fail(ctx, err)
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	start := time.Now()
	for {
		_, err := fmt.Fprintf(conn, "GET /api/v1/namespaces HTTP/1.1\r\nHost: siege\r\nAuthorization: Bearer %s\r\n\r\n", f.lie())
		answer := make([]byte, 4<<10)
		var n int
		if err == nil {
			n, err = io.ReadAtLeast(conn, answer, len("HTTP/1.1 401"))
		}
		if err != nil {
			if f.made.Load() == 0 || !closedByPeer(err) {
				f.fail(ctx, err)
			}
			return
		}
		f.answered(string(answer[:n]), time.Since(start))
		start = time.Now()
	}
}

// answered counts the answer to a lie.
func (f *Force) answered(answer string, took time.Duration) {
	var code int
	_, _ = fmt.Sscanf(answer, "HTTP/1.1 %d", &code)
	f.made.Add(1)
	f.status(code)
	f.time("answer to a lie", took)
}

func (f *Force) lieAtOnce(ctx context.Context, i int) {
	transport := f.transport(i, true)
	transport.MaxConnsPerHost = 1
	defer transport.CloseIdleConnections()
	each(streams, func(int) {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+f.Address+"/api/v1/namespaces", nil)
		r.Header.Set("Authorization", "Bearer "+f.lie())
		start := time.Now()
		answer, err := transport.RoundTrip(r)
		if err != nil {
			// The server may end the connection with the first lie.
			pause(ctx, 10*time.Millisecond)
			return
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		f.made.Add(1)
		f.status(answer.StatusCode)
		f.time("answer to a lie", time.Since(start))
	})
}

// transport returns one that comes from the i-th address.
func (f *Force) transport(i int, h2 bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx, i) },
		TLSClientConfig:     f.config.Clone(),
		TLSHandshakeTimeout: 30 * time.Second,
		Protocols:           protocols,
		MaxIdleConnsPerHost: 64,
	}
}
