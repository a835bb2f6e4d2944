package server_test

import (
	"net"
	"net/url"
	"os"
	"slices"
	"testing"

	"gatehouse.dev/gatehouse/internal/server"
)

func TestServingNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	always := []string{
		"localhost", "127.0.0.1", "::1", host,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	for _, tt := range []struct {
		bind, external string
		has, not       []string
	}{
		{"127.0.0.1", "", nil, []string{"0.0.0.0", "<nil>", ""}},
		{"192.0.2.7", "", []string{"192.0.2.7"}, nil},
		{"2001:db8::1", "", []string{"2001:db8::1"}, nil},
		{"0.0.0.0", "", nil, []string{"0.0.0.0", "::", "192.0.2.7"}},
		{"::", "", nil, []string{"0.0.0.0", "::"}},
		{"127.0.0.1", "api.example.org", []string{"api.example.org"}, nil},
		{"127.0.0.1", "api.example.org:443", []string{"api.example.org"}, []string{"api.example.org:443"}},
		{"127.0.0.1", "[2001:db8::1]:443", []string{"2001:db8::1"}, nil},
		{"127.0.0.1", "127.0.0.1:443", nil, nil},
		{"192.0.2.7", "192.0.2.7", []string{"192.0.2.7"}, nil},
	} {
		got := server.ServingNames(net.ParseIP(tt.bind), tt.external)
		for _, want := range append(tt.has, always...) {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %q is not among %q", tt.bind, want, got)
			}
		}
		for _, wrong := range tt.not {
			if slices.Contains(got, wrong) {
				t.Errorf("%s: %q is among %q", tt.bind, wrong, got)
			}
		}
		if slices.Sort(got); len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%s: a name comes twice in %q", tt.bind, got)
		}
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:6443": "127.0.0.1:6443", "192.0.2.7:1": "192.0.2.7:1", "[2001:db8::1]:1": "[2001:db8::1]:1",
		"0.0.0.0:6443": "127.0.0.1:6443", "[::]:6443": "127.0.0.1:6443",
		"localhost:1": "localhost:1", "nothing": "nothing",
	} {
		if got := server.Reachable(address); got != want {
			t.Errorf("Reachable(%s) = %s, want %s", address, got, want)
		}
	}
}

func TestWildcard(t *testing.T) {
	for name, want := range map[string]string{
		"a.example.org": "*.example.org", "b.a.example.org": "*.a.example.org",
		"localhost": "localhost", "": "", ".": "*.", "*.example.org": "*.example.org",
	} {
		if got := server.Wildcard(name); got != want {
			t.Errorf("Wildcard(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestExternalURL(t *testing.T) {
	for _, tt := range []struct{ external, address, want string }{
		{"", "127.0.0.1:7443", "https://127.0.0.1:7443"},
		{"", "192.0.2.7:6443", "https://192.0.2.7:6443"},
		{"", "[2001:db8::1]:6443", "https://[2001:db8::1]:6443"},
		{"api.example.org", "0.0.0.0:6443", "https://api.example.org:6443"},
		{"api.example.org:443", "0.0.0.0:6443", "https://api.example.org:443"},
		{"2001:db8::1", "[::]:6443", "https://[2001:db8::1]:6443"},
		{"[2001:db8::1]:443", "[::]:6443", "https://[2001:db8::1]:443"},
	} {
		if got := server.ExternalURL(tt.external, tt.address); got != tt.want {
			t.Errorf("ExternalURL(%q, %q) = %s, want %s", tt.external, tt.address, got, tt.want)
		}
	}
	for _, address := range []string{"0.0.0.0:6443", "[::]:6443"} {
		got := server.ExternalURL("", address)
		if u, err := url.Parse(got); err != nil || u.Port() != "6443" || net.ParseIP(u.Hostname()) == nil || net.ParseIP(u.Hostname()).IsUnspecified() {
			t.Errorf("ExternalURL of %s = %s, want an address of the machine", address, got)
		}
	}
}
