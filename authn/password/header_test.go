package password_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/password"
)

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func TestHeader(t *testing.T) {
	long := strings.Repeat("a", password.MaxPair-len("jane:"))
	for _, tt := range []struct{ header, name, password string }{
		{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"}, // RFC 7617 section 2
		{"Basic dGVzdDoxMjPCow==", "test", "123£"},                       // section 2.1
		{"basic " + basic("jane:s3cret")[6:], "jane", "s3cret"},
		{"BASIC " + basic("jane:s3cret")[6:], "jane", "s3cret"},
		{basic("jane:a:b:c"), "jane", "a:b:c"},
		{basic("jane: "), "jane", " "},
		{basic(" jane :x "), " jane ", "x "},
		{basic("jane:" + long), "jane", long},
		{basic("jane:pässwörd"), "jane", "pässwörd"},
	} {
		name, pw, err := password.Read(http.Header{"Authorization": {tt.header}})
		if err != nil || name != tt.name || pw != tt.password {
			t.Errorf("%q: %q, %q, %v", tt.header, name, pw, err)
		}
	}
}

func TestNoHeader(t *testing.T) {
	for _, header := range [][]string{
		nil, {""}, {"Bearer x"}, {"Basic\tx"}, {"Basicx"}, {"Negotiate x"}, {" Basic x"}, {"Digest x", "Bearer x"},
	} {
		h := http.Header{"Authorization": header}
		if header == nil {
			h = http.Header{}
		}
		if _, _, err := password.Read(h); !errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%q: %v, want ErrNoCredential", header, err)
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	good := basic("jane:s3cret")
	for _, tt := range []struct {
		why     string
		headers []string
	}{
		{"more than one", []string{good, good}},
		{"more than one", []string{"Bearer x", good}},
		{"more than one", []string{good, "Bearer x"}},
		{"no colon", []string{"Basic"}},
		{"no colon", []string{"Basic "}},
		{"no colon", []string{basic("jane")}},
		{"not base64", []string{"Basic  " + good[6:]}},
		{"not base64", []string{good + " "}},
		{"not base64", []string{good + " junk"}},
		{"not base64", []string{strings.TrimRight(good, "=") + "\n"}},
		{"not base64", []string{"Basic dGVzdDoxMjPCow"}},     // no padding
		{"not base64", []string{"Basic dGVzdDoxMjPCox=="}},   // spare bits
		{"not base64", []string{"Basic dGVzdDoxMjPCow==="}},  // too much padding
		{"not base64", []string{"Basic dGVz\ndDoxMjPCow=="}}, // a line break
		{"not base64", []string{"Basic am-uZTp_"}},           // base64url
		{"not base64", []string{"Basic jane:s3cret"}},
		{"longer", []string{basic("jane:" + strings.Repeat("a", password.MaxPair))}},
		{"longer", []string{"Basic " + strings.Repeat("!", 1<<20)}},
		{"not UTF-8", []string{basic("jane:\xff")}},
		{"not UTF-8", []string{basic("j\xe4ne:x")}}, // ISO 8859-1
		{"control character", []string{basic("jane:a\x00b")}},
		{"control character", []string{basic("jane:a\n")}},
		{"control character", []string{basic("jane\r:a")}},
		{"control character", []string{basic("jane:\u0085")}},
		{"control character", []string{basic("jane:\x7f")}},
		{"the user name is empty", []string{basic(":s3cret")}},
		{"the user name is empty", []string{basic(":")}},
		{"the password is empty", []string{basic("jane:")}},
	} {
		_, _, err := password.Read(http.Header{"Authorization": tt.headers})
		if err == nil || errors.Is(err, authn.ErrNoCredential) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%.80q: %v, want a refusal with %q", tt.headers, err, tt.why)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.80q: the refusal has the password: %v", tt.headers, err)
		}
	}
}

// What is read is what the standard library reads, and nothing that it does not.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "basic Og==", "Basic", "Basic  ", "Bearer x", "Basic dGVzdDoxMjPCox=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		name, pw, err := password.Read(r.Header)
		theirName, theirPassword, ok := r.BasicAuth()
		if err == nil && (!ok || name != theirName || pw != theirPassword) {
			t.Errorf("%q: %q, %q; net/http: %q, %q, %v", header, name, pw, theirName, theirPassword, ok)
		}
		if err == nil && (name == "" || pw == "" || !utf8.ValidString(name+pw) || strings.ContainsFunc(name+pw, unicode.IsControl)) {
			t.Errorf("%q is read as %q, %q", header, name, pw)
		}
		if ok && errors.Is(err, authn.ErrNoCredential) {
			t.Errorf("%q is no credential to us, and is one to net/http", header)
		}
	})
}
