package listener_test

import (
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/listener"
)

// serve starts a TLS server behind a listener with little room.
func serve(t *testing.T, maxConns int) (*httptest.Server, *listener.Listener) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, r.Proto)
	}))
	open := listener.New(server.Listener, listener.Config{MaxConns: maxConns, MaxHandshakes: 1, Log: slog.New(slog.DiscardHandler)})
	server.Listener, server.Config.ConnState, server.EnableHTTP2 = open, open.Track, true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, open
}

// client returns one with connections of its own.
func client(server *httptest.Server, h2 bool) *http.Client {
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = h2
	if !h2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		transport.TLSClientConfig.NextProtos = nil
	}
	return &http.Client{Transport: transport}
}

// More clients than there is room for are all served in turn: what is idle makes
// room for what comes.
func TestServerWithLittleRoom(t *testing.T) {
	server, open := serve(t, 8)
	for round := range 3 {
		for i := range 20 {
			answer, err := client(server, i%2 == 0).Get(server.URL)
			if err != nil {
				t.Fatalf("round %d, client %d: %v", round, i, err)
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if want := []string{"HTTP/2.0", "HTTP/1.1"}[i%2]; err != nil || string(text) != want {
				t.Errorf("answer %q, %v, want %q", text, err, want)
			}
		}
	}
	if shed := open.Stats().Shed[listener.Idle]; shed < 52 {
		t.Errorf("%d idle connections were shed, want at least 52", shed)
	}
}

// Whatever happens to connections, none is counted after its end, and no turn
// is lost.
func TestNothingIsLostInAStorm(t *testing.T) {
	server, open := serve(t, 8)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			c := client(server, i%2 == 0)
			for range 5 {
				// Many are refused here, as they should be.
				if answer, err := c.Get(server.URL); err == nil {
					answer.Body.Close()
				}
				c.CloseIdleConnections()
			}
		})
	}
	all.Wait()
	until(t, "every connection is forgotten and nobody waits", func() bool {
		stats := open.Stats()
		return stats.Open == 0 && stats.Waiting == 0
	})
	answer, err := client(server, true).Get(server.URL)
	if err != nil {
		t.Fatalf("a request after all: %v", err)
	}
	answer.Body.Close()
}

// A crowd that says nothing takes no room from a client.
func TestServerWithSilentCrowd(t *testing.T) {
	server, open := serve(t, 8)
	address := server.Listener.Addr().String()
	for range 20 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	time.Sleep(1100 * time.Millisecond) // one who has just come is not silent yet
	for _, h2 := range []bool{false, true} {
		answer, err := client(server, h2).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	if stats := open.Stats(); stats.Open > 8 {
		t.Errorf("%d connections are open, want at most 8", stats.Open)
	}
}

// A stream is in use for as long as it lasts, in both protocols.
func TestStreamsAreKept(t *testing.T) {
	server, open := serve(t, 4)
	for _, h2 := range []bool{false, true} {
		go func() {
			if answer, err := client(server, h2).Get(server.URL + "/wait"); err == nil {
				answer.Body.Close()
			}
		}()
	}
	until(t, "both streams are open", func() bool { return open.Stats().Open == 2 })
	for range 20 {
		c := client(server, true)
		answer, err := c.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	if shed := open.Stats().Shed[listener.InUse]; shed != 0 {
		t.Errorf("%d connections in use were shed, want none", shed)
	}
	server.CloseClientConnections()
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not so after 10 s: %s", what)
}
