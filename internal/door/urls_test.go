package door_test

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/authn/anonymous"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/test/vectors"
)

// targets are request targets made of an address that leads parsers astray.
func targets(odd string) []string {
	all := []string{odd, "/" + odd, "/healthz/" + odd, "/healthz?" + odd, "/healthz;" + odd, "/healthz/.." + odd, "/api/v1/" + odd, "/api/v1/namespaces/" + odd + "/pods", "//" + odd + "/healthz", "/" + odd + "/../healthz"}
	for _, dots := range []string{"/../", "/%2e%2e/", "/..%2f", "/.%2e/", "\\..\\", "//", "/./", "/%2f", "%00", "%0a", "#", "?", ";"} {
		all = append(all, "/livez"+dots+odd, "/"+odd+dots+"healthz")
	}
	return all
}

// TestURLsThatLeadAstray sends addresses that others' parsers read in two ways.
// Whatever is remembered of them is what the library says; and only a path that
// is exactly one of the open ones is open without a credential, so that nothing
// behind the door can be reached by another spelling of it.
func TestURLsThatLeadAstray(t *testing.T) {
	open := []string{"/healthz", "/livez"}
	strangers, of := anonymous.New(open...), door.NewInfos()
	read, admitted := 0, 0
	for _, odd := range vectors.Redirects() {
		for _, target := range targets(odd) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")))
			if err != nil {
				continue
			}
			read++
			checkInfos(t, of, "GET", r.URL.Path, r.URL.RawQuery)
			if _, err := strangers.Authenticate(r); err != nil {
				continue
			}
			admitted++
			info, err := of(r)
			if err != nil || !slices.Contains(open, info.Path) || info.IsResourceRequest || r.URL.Path != info.Path {
				t.Errorf("%q is open, and asks for %+v, %v", target, info, err)
			}
		}
	}
	if read < 4000 || admitted == 0 || admitted > read/10 {
		t.Errorf("%d targets can be read, and %d are open", read, admitted)
	}
}
