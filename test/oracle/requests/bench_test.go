package requests_test

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	upstream "k8s.io/apiserver/pkg/authentication/request/x509"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/frontproxy"
)

// BenchmarkFrontProxy compares requests on a connection that is known. Upstream
// verifies the certificate for each, and removes the headers, so they are set
// again for both.
func BenchmarkFrontProxy(b *testing.B) {
	y := newYard(b)
	headers := frontproxy.Headers{
		Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid"}, Groups: []string{"X-Remote-Group"}, ExtraPrefixes: []string{"X-Remote-Extra-"},
	}
	our, err := frontproxy.New(frontproxy.Config{CA: y.bundle, Headers: headers})
	if err != nil {
		b.Fatal(err)
	}
	opts := upstream.DefaultVerifyOptions()
	opts.Roots = y.bundle.Pool()
	their := headerrequest.NewDynamicVerifyOptionsSecure(upstream.StaticVerifierFn(opts), headerrequest.StaticStringSlice(nil),
		headerrequest.StaticStringSlice(headers.Username), headerrequest.StaticStringSlice(headers.UID),
		headerrequest.StaticStringSlice(headers.Groups), headerrequest.StaticStringSlice(headers.ExtraPrefixes))
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: y.certs["proxy"]}
	r = r.WithContext(authn.WithConn(r.Context(), new(authn.Conn)))
	set := func() {
		r.Header["X-Remote-User"] = []string{"jane"}
		r.Header["X-Remote-Group"] = []string{"a", "b", "c"}
		r.Header["X-Remote-Extra-Scopes"] = []string{"r"}
		r.Header["User-Agent"] = []string{"kubectl"}
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			set()
			if _, err := our.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("theirs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			set()
			if _, ok, err := their.AuthenticateRequest(r); !ok {
				b.Fatal(err)
			}
		}
	})
}
