package siege

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// slow sends what it has to say a byte a second: by turns a header, the body of
// an anonymous request, and the body of one that is let in.
func slow(ctx context.Context, f *Force, ready func()) {
	const body = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: siege\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
	openings := []string{
		"GET /livez HTTP/1.1\r\nHost: siege\r\n",
		body + "\r\n",
		body + "Authorization: Bearer " + f.Token + "\r\n\r\n",
	}
	hold(ctx, f, ready, func(i int) (net.Conn, error) {
		conn, err := f.dialTLS(ctx, i, "http/1.1")
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(conn, openings[i%len(openings)]); err != nil {
			_ = conn.Close()
			return nil, err
		}
		go func() {
			for range int(f.Most / time.Second) {
				pause(ctx, time.Second)
				if _, err := io.WriteString(conn, "a"); err != nil || ctx.Err() != nil {
					return
				}
			}
		}()
		return conn, nil
	})
}

// bombs sends headers that are too much: by turns a megabyte in one, ten
// thousand of them, and a token of 20 KiB.
func bombs(ctx context.Context, f *Force, ready func()) {
	ready()
	const start, end = "GET /livez HTTP/1.1\r\nHost: siege\r\n", "\r\n"
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	loads := []string{
		start + "X-Big: " + strings.Repeat("a", 1<<20) + "\r\n" + end,
		start + many.String() + end,
		start + "Authorization: Bearer " + strings.Repeat("a", 20<<10) + "\r\n" + end,
	}
	each(f.Count, func(i int) {
		for n := i; ctx.Err() == nil; n++ {
			f.throw(ctx, i, loads[n%len(loads)])
		}
	})
}

func (f *Force) throw(ctx context.Context, i int, load string) {
	conn, err := f.dialTLS(ctx, i, "http/1.1")
	if err != nil {
		f.fail(ctx, err)
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(conn, load) }()
	answer := make([]byte, 1<<10)
	n, err := io.ReadAtLeast(conn, answer, len("HTTP/1.1 431"))
	if err != nil {
		if !closedByPeer(err) {
			f.fail(ctx, err)
		}
		return
	}
	var code int
	_, _ = fmt.Sscanf(string(answer[:n]), "HTTP/1.1 %d", &code)
	f.made.Add(1)
	f.status(code)
}
