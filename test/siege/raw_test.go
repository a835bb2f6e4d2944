package siege_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// say sends bytes over a connection of its own, as an HTTP/1.1 client without
// any manners, and returns all that comes back until the server closes it or
// has said nothing for a while.
func (c *camp) say(t *testing.T, text string) string {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.order.CA)
	conn, err := tls.Dial("tcp", c.order.Address, &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }()
	var answer strings.Builder
	some := make([]byte, 64<<10)
	for wait := 10 * time.Second; ; wait = 300 * time.Millisecond {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		n, err := conn.Read(some)
		answer.Write(some[:n])
		if err != nil {
			return answer.String()
		}
	}
}

// statuses returns the codes of all answers in what came back.
func statuses(answer string) []string {
	var codes []string
	in := bufio.NewReader(strings.NewReader(answer))
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return codes
		}
		codes = append(codes, strconv.Itoa(r.StatusCode))
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// TestRawRequests sends what only an attacker sends. Two readers of one
// connection that disagree about where a request ends are how requests are
// smuggled: what counts is that there is never one answer too many.
func TestRawRequests(t *testing.T) {
	c := open(t)
	t.Run("table", func(t *testing.T) { rawTable(t, c) })
	t.Run("llhttp", func(t *testing.T) { rawCorpus(t, c) })
	if log := c.server.Log(); strings.Contains(log, "panic") {
		t.Error("the log of the server tells of a panic")
	}
	c.ask("GET", "/livez", "")
}

func rawTable(t *testing.T, c *camp) {
	const start, next = "HTTP/1.1\r\nHost: a\r\n", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
	headers := func(n, size int) string {
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, "X-%d: %s\r\n", i, strings.Repeat("a", size))
		}
		return all.String()
	}
	bearer := func(token string) string {
		return "GET /livez " + start + "Authorization: Bearer " + token + "\r\n\r\n"
	}
	tests := []struct{ name, text, want string }{
		{"a good request", "GET /livez " + start + "\r\n", "200"},
		{"two good requests", "GET /livez " + start + "\r\n" + next, "200 200"},
		{"a good token", bearer(c.order.Token), "200"},

		{"lengths that differ", "GET /livez " + start + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na" + next, "400"},
		{"lengths in a list", "GET /livez " + start + "Content-Length: 1, 1\r\n\r\na" + next, "400"},
		{"a negative length", "GET /livez " + start + "Content-Length: -1\r\n\r\n" + next, "400"},
		{"a length with a sign", "GET /livez " + start + "Content-Length: +1\r\n\r\na" + next, "400"},
		{"an empty length", "GET /livez " + start + "Content-Length:\r\n\r\n" + next, "400"},
		{"a length past all numbers", "GET /livez " + start + "Content-Length: 99999999999999999999\r\n\r\n" + next, "400"},
		{"encodings that repeat", "GET /livez " + start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "501"},
		{"encodings in a list", "GET /livez " + start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + next, "501"},
		{"an unknown encoding", "GET /livez " + start + "Transfer-Encoding: pigeons\r\n\r\n" + next, "501"},
		{"an encoding with a control character", "GET /livez " + start + "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n" + next, "400"},
		// What comes after is never read, whoever thinks that it is a request.
		{"a length and an encoding", "GET /livez " + start + "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "200"},
		{"an encoding and a length", "GET /livez " + start + "Transfer-Encoding: chunked\r\nContent-Length: 40\r\n\r\n0\r\n\r\n" + next, "200"},
		// Nobody can take this for something else (RFC 9112 section 6.3).
		{"lengths that agree", "GET /livez " + start + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na" + next, "200 200"},
		{"a space before a colon", "GET /livez " + start + "Content-Length : 1\r\n\r\na" + next, "400"},
		{"a NUL in a header", "GET /livez " + start + "X: a\x00b\r\n\r\n" + next, "400"},
		{"no host", "GET /livez HTTP/1.1\r\n\r\n" + next, "400"},
		{"two hosts", "GET /livez " + start + "Host: b\r\n\r\n" + next, "400"},
		// Nobody may do that, so nobody does, and the connection ends.
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "403"},
		{"HTTP/9", "GET /livez HTTP/9.9\r\nHost: a\r\n\r\n" + next, "505"},

		{"a header of 1 MiB", "GET /livez " + start + headers(1, 1<<20) + "\r\n", "431"},
		{"10,000 headers", "GET /livez " + start + headers(10_000, 20) + "\r\n", "431"},
		{"a path of 1 MiB", "GET /" + strings.Repeat("a", 1<<20) + " " + start + "\r\n", "431"},
		{"a token of 16 KiB and one", bearer(strings.Repeat("a", 16<<10+1)), "401"},
		{"a token of 100 KiB", bearer(strings.Repeat("a", 100<<10)), "401"},
		{"two tokens", "GET /livez " + start + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n" + next, "401"},
		{"after a bad token", bearer("bad") + next, "401"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := c.say(t, test.text)
			if got := strings.Join(statuses(answer), " "); got != test.want {
				t.Errorf("answers %q, want %q\n%.300s", got, test.want, answer)
			}
		})
	}
}

func rawCorpus(t *testing.T, c *camp) {
	text, err := os.ReadFile("testdata/llhttp/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name  string
		Raw   []byte
		Begun int // how many requests begin for a strict reader
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 150 {
		t.Fatalf("only %d cases", len(cases))
	}
	var all sync.WaitGroup
	for _, test := range cases {
		all.Go(func() {
			got := statuses(c.say(t, string(test.Raw)+"\r\n\r\n"))
			served := slices.DeleteFunc(slices.Clone(got), func(code string) bool { return code == "400" })
			if len(served) > test.Begun != slices.Contains(tolerated(), test.Name) {
				t.Errorf("%s: answers %q to %d requests: %q", test.Name, got, test.Begun, test.Raw)
			}
			for _, code := range got {
				if code >= "500" && code != "501" && code != "505" {
					t.Errorf("%s: answer %s, the server blames itself: %q", test.Name, code, test.Raw)
				}
			}
		})
	}
	all.Wait()
}

// tolerated are the cases where net/http sees two requests and a strict reader
// one that is wrong: it takes a line feed alone for the end of a line, and a
// line that begins with a space for more of the header before, as RFC 9112
// allows (sections 2.2 and 5.2). Only a proxy in front of us that is as wrong in
// another way could be made a fool of.
func tolerated() []string {
	return []string{
		"invalid: Missing CR between headers",
		"invalid: Invalid space after start line / Spaces before headers",
	}
}
