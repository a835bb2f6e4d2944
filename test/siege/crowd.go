package siege

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// dialers is how many connections a force begins at the same time.
	dialers = 32
	// regroup is after how long a connection that the server has ended is begun
	// again.
	regroup = time.Second
)

// idle holds connections that have sent one request and then nothing more. One
// that the server ends is made again.
func idle(ctx context.Context, f *Force, ready func()) {
	hold(ctx, f, ready, func(i int) (net.Conn, error) {
		conn, err := f.dialTLS(ctx, i, "http/1.1")
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: siege\r\n\r\n"); err != nil {
			_ = conn.Close()
			return nil, err
		}
		if _, err := conn.Read(make([]byte, 1<<10)); err != nil {
			_ = conn.Close()
			return nil, err
		}
		_ = conn.SetDeadline(time.Time{})
		return conn, nil
	})
}

// mute holds connections that never say what they are for.
func mute(ctx context.Context, f *Force, ready func()) {
	hold(ctx, f, ready, func(i int) (net.Conn, error) { return f.dial(ctx, i) })
}

// hold keeps the ordered number of connections open: whatever the server ends is
// begun again a moment later.
func hold(ctx context.Context, f *Force, ready func(), begin func(i int) (net.Conn, error)) {
	places := make(chan struct{}, dialers)
	var standing sync.WaitGroup
	standing.Add(f.Count)
	var said sync.WaitGroup
	defer said.Wait()
	said.Go(func() { standing.Wait(); ready() })
	each(f.Count, func(i int) {
		stood := sync.OnceFunc(standing.Done)
		for ctx.Err() == nil {
			places <- struct{}{}
			start := time.Now()
			conn, err := begin(i)
			<-places
			// It stands as well as it can: a server that is full takes no more.
			stood()
			if err != nil {
				f.fail(ctx, err)
				pause(ctx, regroup)
				continue
			}
			f.made.Add(1)
			f.await(ctx, conn, start)
			pause(ctx, regroup)
		}
		stood()
	})
}

// await returns when the server has ended the connection, or ctx is done.
func (f *Force) await(ctx context.Context, conn net.Conn, since time.Time) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	var few [64]byte
	for {
		_, err := conn.Read(few[:])
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			f.closed.Add(1)
			f.time("life of a connection", time.Since(since))
		}
		return
	}
}
