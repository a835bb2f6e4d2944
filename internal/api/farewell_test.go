package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/live"
)

// stayed serves h on a network, with each request joined to a registry.
func stayed(t *testing.T, h http.Handler) (*httptest.Server, *live.Registry) {
	t.Helper()
	streams := live.New(live.Config{Log: slog.New(slog.DiscardHandler)})
	res := &authn.Result{Identity: &identity.Identity{Name: "tester"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		q := streams.Join(live.Stay{Who: res.Identity, Result: res, Cut: cancel})
		defer q.Leave()
		h.ServeHTTP(w, r.WithContext(live.With(ctx, q)))
	}))
	t.Cleanup(s.Close)
	return s, streams
}

const watched = "/api/v1/namespaces?watch=true"

// The last thing that a watch says is why it ends, as what its caller reads, and
// then the body ends as it should.
func TestFarewell(t *testing.T) {
	_, h := start(t, nil)
	s, streams := stayed(t, h)
	const table = "application/json;as=Table;v=v1;g=meta.k8s.io"
	for _, tt := range []struct{ accept, mediaType string }{
		{"application/json", "application/json"},
		{table, "application/json"},
		{"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json"},
		{"application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch"},
		{"application/vnd.kubernetes.protobuf;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"},
	} {
		t.Run(tt.accept, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+watched, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", tt.accept)
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != tt.mediaType {
				t.Fatalf("%d %s", resp.StatusCode, got)
			}
			streams.End(live.Ending{Kind: live.Revoked, Err: errors.New("for the operator")})
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Errorf("the body does not end as it should: %v", err)
			}
			event := lastEvent(t, tt.mediaType, body)
			if event.Type != "ERROR" || bytes.Contains(body, []byte("for the operator")) {
				t.Errorf("%s %s", event.Type, body)
			}
			status := statusOf(t, event)
			if status.Code != 401 || status.Reason != metav1.StatusReasonUnauthorized || !strings.Contains(status.Message, "has been revoked") {
				t.Errorf("status %+v", status)
			}
		})
	}
}

// lastEvent takes the frames of a watch apart.
func lastEvent(t *testing.T, mediaType string, body []byte) *metav1.WatchEvent {
	t.Helper()
	event := &metav1.WatchEvent{}
	if !strings.Contains(mediaType, "protobuf") {
		lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
		decode(t, lines[len(lines)-1], event)
		return event
	}
	last := body
	for rest := body; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		last, rest = rest[4:4+n], rest[4+n:]
	}
	if err := event.Unmarshal(last); err != nil {
		t.Fatal(err)
	}
	return event
}

func statusOf(t *testing.T, event *metav1.WatchEvent) *metav1.Status {
	t.Helper()
	status := &metav1.Status{}
	decode(t, event.Object.Raw, status)
	if status.Kind != "" && status.Kind != "Status" {
		t.Errorf("a %s", status.Kind)
	}
	return status
}

func decode(t *testing.T, data []byte, into runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	if _, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(data, nil, into); err != nil {
		t.Fatalf("%v: %q", err, data)
	}
}

// A WebSocket has the event as its last message, and is closed.
func TestFarewellOverWebSocket(t *testing.T) {
	_, h := start(t, nil)
	s, streams := stayed(t, h)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", watched)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	streams.End(live.Ending{Kind: live.Withdrawn, Err: errors.New("gone")})
	var last []byte
	for {
		header, err := in.Peek(2)
		if err != nil || header[0]&0xf == 8 { // the end of the connection, or a frame that says so
			break
		}
		_, _ = in.Discard(2)
		n := int(header[1])
		if n == 126 {
			var long [2]byte
			if _, err := io.ReadFull(in, long[:]); err != nil {
				t.Fatal(err)
			}
			n = int(binary.BigEndian.Uint16(long[:]))
		}
		last = make([]byte, n)
		if _, err := io.ReadFull(in, last); err != nil {
			t.Fatal(err)
		}
	}
	event := &metav1.WatchEvent{}
	decode(t, last, event)
	if status := statusOf(t, event); event.Type != "ERROR" || status.Code != 401 {
		t.Errorf("%s %+v", event.Type, status)
	}
}

// Events go on in their order while nothing ends, and a watch ends by itself as
// before.
func TestWatchGoesOn(t *testing.T) {
	_, h := start(t, nil)
	s, _ := stayed(t, h)
	resp, err := s.Client().Get(s.URL + watched + "&fieldSelector=metadata.name!=x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const events = 100
	for n := range events {
		expect(t, do(t, h, "POST", "/api/v1/namespaces", "application/json", fmt.Sprintf(`{"metadata":{"name":"n%03d"}}`, n)), 201, "")
	}
	lines := bufio.NewScanner(resp.Body)
	for n := range events {
		if !lines.Scan() {
			t.Fatalf("%d events: %v", n, lines.Err())
		}
		if line := lines.Text(); !strings.Contains(line, `"ADDED"`) || !strings.Contains(line, fmt.Sprintf(`"name":"n%03d"`, n)) {
			t.Errorf("event %d: %s", n, line)
		}
	}

	short, err := s.Client().Get(s.URL + watched + "&timeoutSeconds=1")
	if err != nil {
		t.Fatal(err)
	}
	defer short.Body.Close()
	if text, err := io.ReadAll(short.Body); err != nil || strings.Contains(string(text), `"ERROR"`) {
		t.Errorf("a watch that is over: %v, %s", err, text)
	}
}
