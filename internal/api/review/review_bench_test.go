package review_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// BenchmarkReview measures a handler without the filters in front of it. The
// token is as long as that of a service account, and unknown, which costs the
// verifier of the tests nothing.
func BenchmarkReview(b *testing.B) {
	cf := codecs(b)
	for _, bb := range []struct {
		name, path string
		review     runtime.Object
	}{
		{"TokenReview", tokenPath, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: strings.Repeat("t", 1000)},
		}},
		{"SelfSubjectAccessReview", canIPath, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: "ns", Verb: "get", Resource: "pods",
			}},
		}},
	} {
		for _, info := range cf.SupportedMediaTypes() {
			if info.MediaTypeSubType == "yaml" {
				continue
			}
			b.Run(bb.name+"/"+info.MediaTypeSubType, func(b *testing.B) {
				gv := authorizationv1.SchemeGroupVersion
				if bb.path == tokenPath {
					gv = authenticationv1.SchemeGroupVersion
				}
				body, err := runtime.Encode(cf.EncoderForVersion(info.Serializer, gv), bb.review)
				if err != nil {
					b.Fatal(err)
				}
				benchmark(b, bb.path, info.MediaType, body)
			})
		}
	}
}

func benchmark(b *testing.B, path, mediaType string, body []byte) {
	h := newHandler(b, newWorld())
	reader := bytes.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, path, io.NopCloser(reader))
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Type", mediaType)
	r.Header.Set("Accept", mediaType)
	r = r.WithContext(request.WithUser(r.Context(), alice()))
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		h.ServeHTTP(w, r)
		if w.code != http.StatusCreated {
			b.Fatal(w.code)
		}
	}
}

type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(code int)        { d.code = code }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
