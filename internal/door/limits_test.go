package door_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/door"
)

func TestLimitInFlight(t *testing.T) {
	for _, tt := range []struct {
		name         string
		groups       []string
		first, then  string
		code         int
		counted      string
		reading, mut int
	}{
		{"read while reading", nil, "GET /api/v1/pods", "GET /version", 429, "shed reading", 1, 1},
		{"write while writing", nil, "POST /api/v1/namespaces", "DELETE /api/v1/nodes/n", 429, "shed mutating", 1, 1},
		{"write while reading", nil, "GET /api/v1/pods", "POST /api/v1/namespaces", 200, "", 1, 1},
		{"read while writing", nil, "POST /api/v1/namespaces", "GET /api/v1/pods", 200, "", 1, 1},
		{"places left", nil, "GET /api/v1/pods", "GET /api/v1/pods", 200, "", 2, 1},
		{"no limit", nil, "GET /api/v1/pods", "GET /api/v1/pods", 200, "", 0, 0},
		{"watch", nil, "GET /api/v1/pods", "GET /api/v1/pods?watch=1", 200, "", 1, 1},
		{"watches take no place", nil, "GET /api/v1/pods?watch=1", "GET /api/v1/pods", 200, "", 1, 1},
		{"live", nil, "GET /api/v1/pods", "GET /livez", 200, "", 1, 1},
		{"ready", nil, "GET /api/v1/pods", "GET /readyz?verbose", 200, "", 1, 1},
		{"below ready", nil, "GET /api/v1/pods", "GET /readyz/etcd", 429, "shed reading", 1, 1},
		{"masters", []string{identity.GroupMasters}, "GET /api/v1/pods", "GET /api/v1/pods", 200, "", 1, 1},
		{"nearly masters", []string{"system:masters2"}, "GET /api/v1/pods", "GET /api/v1/pods", 429, "shed reading", 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &counts{}
			entered, leave := make(chan struct{}, 1), make(chan struct{})
			h := newDoor(t, func(c *door.Config) {
				c.Authenticator, c.Metrics = user("jane", tt.groups...), m
				c.MaxReading, c.MaxMutating = tt.reading, tt.mut
				c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Wait") != "" {
						entered <- struct{}{}
						<-leave
					}
					served(w, r)
				})
			})
			ask := func(target, wait string) (int, http.Header) {
				method, path, _ := strings.Cut(target, " ")
				r := request(method, path)
				if wait != "" {
					r.Header.Set("Wait", wait)
				}
				w := answer(h, r)
				return w.Code, w.Header()
			}
			done := make(chan struct{})
			go func() { ask(tt.first, "yes"); close(done) }()
			<-entered
			code, header := ask(tt.then, "")
			if code != tt.code || (header.Get("Retry-After") == "1") != (tt.code == 429) {
				t.Errorf("answered %d with Retry-After %q, want %d", code, header.Get("Retry-After"), tt.code)
			}
			if tt.counted != "" && !slices.Contains(m.all, tt.counted) {
				t.Errorf("counted %q, not %q", m.all, tt.counted)
			}
			close(leave)
			<-done
			if code, _ := ask(tt.then, ""); code != 200 {
				t.Errorf("answered %d when the place is free again", code)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	for _, tt := range []struct {
		target string
		want   time.Duration // 0 if refused
	}{
		{"/api/v1/pods", time.Minute},
		{"/api/v1/pods?timeout=3s", 3 * time.Second},
		{"/api/v1/pods?timeout=2m", time.Minute},
		{"/api/v1/pods?timeout=0s", time.Minute},
		{"/api/v1/pods?timeout=-1s", time.Minute},
		{"/api/v1/pods?timeout=", time.Minute},
		{"/api/v1/pods?timeout=3", 0},
		{"/api/v1/pods?timeout=soon", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newDoor(t, func(c *door.Config) {
				c.Draining = t.Context()
				c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); served(w, r) })
			})
			start := time.Now()
			w := answer(h, request("GET", tt.target))
			if refused := w.Code == 400 && strings.Contains(w.Body.String(), "invalid timeout specified in the request URL"); refused != (tt.want == 0) {
				t.Errorf("%s: answered %d %s", tt.target, w.Code, w.Body)
			}
			if took := time.Since(start); took != tt.want {
				t.Errorf("%s: took %v, want %v", tt.target, took, tt.want)
			}
		})
	}
}

// A watch lasts until the server drains.
func TestDrainEndsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining, drain := context.WithCancel(t.Context())
		h := newDoor(t, func(c *door.Config) {
			c.Draining = draining
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); served(w, r) })
		})
		time.AfterFunc(10*time.Hour, drain)
		start := time.Now()
		answer(h, request("GET", "/api/v1/pods?watch=1"))
		if took := time.Since(start); took != 10*time.Hour {
			t.Errorf("the watch lasted %v", took)
		}
	})
}

// connect serves one connection to h and returns its other end.
func connect(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	srv := &http.Server{Handler: h}
	conns := make(chan net.Conn, 1)
	conns <- theirs
	done := make(chan struct{})
	go func() { _ = srv.Serve(listener{conns, done}) }()
	t.Cleanup(func() { close(done); _ = ours.Close(); _ = srv.Close() })
	return ours
}

type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return &net.TCPAddr{} }

// Who does not take an answer, or does not send a body, is cut off.
func TestSlowCallers(t *testing.T) {
	for _, tt := range []struct {
		name, sent string
		handle     func(http.ResponseWriter, *http.Request) error
		want       time.Duration
	}{
		{"takes no answer", "GET /version HTTP/1.1\r\nHost: h\r\n\r\n", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}, time.Minute + door.LastWords},
		{"sends no body", "POST /api/v1/namespaces HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.ReadAll(r.Body)
			return err
		}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result := make(chan error, 1)
				h := newDoor(t, func(c *door.Config) {
					c.Draining = t.Context()
					c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { result <- tt.handle(w, r) })
				})
				start := time.Now()
				conn := connect(t, h)
				if _, err := io.WriteString(conn, tt.sent); err != nil {
					t.Fatal(err)
				}
				if err := <-result; err == nil {
					t.Error("the handler was served")
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// The deadline of one request is not that of the watch after it.
func TestWatchAfterRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDoor(t, func(c *door.Config) {
			c.Draining = t.Context()
			c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "" {
					time.Sleep(time.Hour)
				}
				served(w, r)
			})
		})
		conn := connect(t, h)
		answers := bufio.NewReader(conn)
		for _, target := range []string{"/api/v1/pods", "/api/v1/pods?watch=1", "/api/v1/pods"} {
			if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "served" {
				t.Errorf("%s: %q, %v", target, text, err)
			}
		}
	})
}

// What is limited is who asks, once that is known: 401 comes before 429.
func TestRefusedBeforeLimited(t *testing.T) {
	block := make(chan struct{})
	entered := make(chan struct{})
	who := make(chan authn.Authenticator, 2)
	who <- user("jane")
	who <- as{err: authn.Refuse("Test", authn.Other, "bad")}
	h := newDoor(t, func(c *door.Config) {
		c.MaxReading = 1
		c.Authenticator = each(who)
		c.Authorizer = says{verdict: authz.Allow}
		c.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-block })
	})
	go answer(h, request("GET", "/version"))
	<-entered
	defer close(block)
	if w := answer(h, request("GET", "/version")); w.Code != 401 {
		t.Errorf("answered %d", w.Code)
	}
}

// each authenticates each request with the next of several.
type each chan authn.Authenticator

func (e each) Authenticate(r *http.Request) (*authn.Result, error) { return (<-e).Authenticate(r) }

// Who is refused is held before the answer, and nobody else is.
func TestHold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		caller authn.Authenticator
		verb   authz.Verdict
		held   bool
	}{
		{"refused", as{err: authn.Refuse("Test", authn.Other, "bad")}, authz.Allow, true},
		{"let in", user("jane"), authz.Allow, false},
		{"forbidden", user("jane"), authz.Deny, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			held := false
			newDoor(t, func(c *door.Config) {
				c.Authenticator, c.Authorizer = tt.caller, says{verdict: tt.verb}
				c.Hold = func(*http.Request) {
					held = true
					if w.Body.Len() > 0 || len(w.Header()["Www-Authenticate"]) > 0 {
						t.Error("the caller was answered before it was held")
					}
				}
			}).ServeHTTP(w, request("GET", "/api/v1/pods"))
			if held != tt.held {
				t.Errorf("held is %v, want %v, for an answer %d", held, tt.held, w.Code)
			}
		})
	}
}

func TestRequestsOfUnknownLengthEndTheConnection(t *testing.T) {
	for _, tt := range []struct {
		name      string
		major     int
		encodings []string
		want      string
	}{
		{"chunks", 1, []string{"chunked"}, "close"},
		{"a length", 1, nil, ""},
		{"HTTP/2", 2, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("POST", "/api/v1/namespaces")
			r.ProtoMajor, r.TransferEncoding = tt.major, tt.encodings
			if got := answer(newDoor(t, nil), r).Header().Get("Connection"); got != tt.want {
				t.Errorf("Connection is %q, want %q", got, tt.want)
			}
		})
	}
}

// Whoever asks for a time gets no more than there is, and never none.
func FuzzTimeout(f *testing.F) {
	for _, query := range []string{"", "timeout=1s", "timeout=-1s", "timeout=0", "timeout=99h", "timeout=1e9h", "timeout=%31s", "timeout=x&timeout=1s", "timeout=", "timeout=9223372036854775807ns"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := request("GET", "/api")
		r.URL.RawQuery = query
		got, err := door.Timeout(time.Minute, r)
		if err == nil && (got <= 0 || got > time.Minute) || err != nil && got != 0 {
			t.Errorf("%q: %v, %v", query, got, err)
		}
	})
}
