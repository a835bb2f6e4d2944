package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/bench/measure"
)

// The targets, in parts of what the default handler chain costs.
const (
	trivialTarget = 1. / 4
	reviewTarget  = 1. / 10
)

// auditing are the policies that both sides run with. The second leaves the
// first stage out, as the example in Kubernetes' documentation does.
func auditing() []struct{ name, policy string } {
	const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	return []struct{ name, policy string }{
		{"no audit", head + "rules: [{level: None}]\n"},
		{"audit at Metadata, one event for a request", head + "omitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"},
		{"audit at Metadata, two events for a request", head + "rules: [{level: Metadata}]\n"},
	}
}

// frontDoor compares whole requests, from the handler that net/http calls to
// the answer.
func frontDoor(t *measure.Table) error {
	for _, a := range auditing() {
		if err := frontDoorWith(t, a.name, a.policy); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

func frontDoorWith(t *measure.Table, name, policy string) (err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := newPair(dir, policy)
	if err != nil {
		return err
	}
	defer func() {
		if e := p.close(); err == nil {
			err = e
		}
	}()
	calls, err := p.calls()
	if err != nil {
		return err
	}
	t.Section("One request through the front door, " + name + " (upstream: the generic server's default handler chain)")
	for _, c := range calls {
		if err := c.check(p); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		ours, theirs, ratio := measure.Both(
			func(n int) { c.serve(p.ours, n) },
			func(n int) { c.serve(p.theirs, n) },
		)
		t.Relative(c.name, ours, theirs, ratio, c.target)
	}
	return nil
}

// A named call has a target, and what has to be the same in both answers.
type named struct {
	call
	name   string
	target float64
	// essence is what of an answer has to be the same, as text.
	essence func(body []byte) (string, error)
}

// check makes the call once on both sides and compares.
func (c *named) check(p *pair) error {
	var texts [2]string
	for i, h := range []http.Handler{p.ours, p.theirs} {
		status, body := c.answer(h)
		if status != c.want {
			return fmt.Errorf("status %d, want %d: %s", status, c.want, body)
		}
		var err error
		if texts[i], err = c.essence(body); err != nil {
			return err
		}
	}
	if texts[0] != texts[1] {
		return fmt.Errorf("ours says %s, upstream %s", texts[0], texts[1])
	}
	return nil
}

const (
	asJSON     = runtime.ContentTypeJSON
	asProtobuf = runtime.ContentTypeProtobuf
)

// calls are what is measured.
func (p *pair) calls() ([]*named, error) {
	static, account := bearer(staticToken), bearer(p.account)
	calls := []*named{
		p.get("GET /version, static token", "/version", asJSON, static, nil),
		p.get("GET /version, service account token", "/version", asJSON, account, nil),
		p.get("GET /version, client certificate", "/version", asJSON, nil, p.cert),
	}
	for _, c := range calls {
		c.target = trivialTarget
		c.essence = func(body []byte) (string, error) {
			var v struct{ Major, Minor string }
			err := json.Unmarshal(body, &v)
			return v.Major + "." + v.Minor, err
		}
	}
	const path = "/api/v1/namespaces/default/serviceaccounts/" + caller + "?resourceVersion=0"
	for _, mediaType := range []string{asJSON, asProtobuf} {
		c := p.get("GET serviceaccount from the cache, "+short(mediaType), path, mediaType, static, nil)
		c.essence = func(body []byte) (string, error) { return fmt.Sprint(bytes.Contains(body, []byte(caller))), nil }
		calls = append(calls, c)
	}
	reviews, err := p.reviews()
	return append(calls, reviews...), err
}

// reviews are the calls of the reviews, in both encodings.
func (p *pair) reviews() ([]*named, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	codecs := serializer.NewCodecFactory(scheme)
	what := authorizationv1.ResourceAttributes{Namespace: "default", Verb: "get", Resource: "pods", Version: "v1"}
	var calls []*named
	for _, r := range []struct {
		gv     schema.GroupVersion
		name   string
		review runtime.Object
	}{
		{authenticationv1.SchemeGroupVersion, "TokenReview", &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: p.account}}},
		{authorizationv1.SchemeGroupVersion, "SelfSubjectAccessReview", &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}},
		{authorizationv1.SchemeGroupVersion, "SubjectAccessReview", &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &what, User: caller, Groups: []string{"dev", "system:authenticated"}}}},
	} {
		for _, mediaType := range []string{asJSON, asProtobuf} {
			info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), mediaType)
			if !ok {
				return nil, fmt.Errorf("no serializer of %s", mediaType)
			}
			body, err := runtime.Encode(codecs.EncoderForVersion(info.Serializer, r.gv), r.review)
			if err != nil {
				return nil, err
			}
			c := p.post(r.name+", "+short(mediaType), "/apis/"+r.gv.String()+"/"+strings.ToLower(r.name)+"s", mediaType, body)
			c.target = reviewTarget
			c.essence = func(body []byte) (string, error) { return verdict(codecs, body) }
			calls = append(calls, c)
		}
	}
	return calls, nil
}

// verdict is what a review says, without what may differ: the reason names one
// of several bindings, and extra the ID of the token.
func verdict(codecs serializer.CodecFactory, body []byte) (string, error) {
	obj, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return "", err
	}
	switch r := obj.(type) {
	case *authenticationv1.TokenReview:
		return fmt.Sprint(r.Status.Authenticated, r.Status.User.Username, r.Status.User.Groups, r.Status.Audiences, r.Status.Error), nil
	case *authorizationv1.SubjectAccessReview:
		return fmt.Sprint(r.Status.Allowed, r.Status.Reason), nil
	case *authorizationv1.SelfSubjectAccessReview:
		return fmt.Sprint(r.Status.Allowed, r.Status.Reason), nil
	}
	return "", fmt.Errorf("%T is no review", obj)
}

func short(mediaType string) string {
	if mediaType == asJSON {
		return "JSON"
	}
	return "protobuf"
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func (p *pair) get(name, path, mediaType string, header http.Header, cert *x509.Certificate) *named {
	c := newCall(http.MethodGet, path, mediaType, nil, header)
	if cert != nil {
		c.request.TLS.PeerCertificates = []*x509.Certificate{cert}
	}
	return &named{call: c, name: name}
}

func (p *pair) post(name, path, mediaType string, body []byte) *named {
	c := newCall(http.MethodPost, path, mediaType, body, bearer(staticToken))
	c.header.Set("Content-Type", mediaType)
	c.want = http.StatusCreated
	return &named{call: c, name: name}
}

// newCall makes a request as net/http's HTTP/2 server would hand it on.
func newCall(method, path, mediaType string, body []byte, header http.Header) call {
	reader := bytes.NewReader(body)
	r, err := http.NewRequest(method, path, reader)
	if err != nil {
		panic(err) // the paths are constants
	}
	r.RequestURI, r.RemoteAddr, r.Host = path, "192.0.2.7:40000", "127.0.0.1:6443"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, NegotiatedProtocol: "h2"}
	// The contexts of net/http can be cancelled too.
	ctx, cancel := context.WithCancel(authn.WithConn(context.Background(), new(authn.Conn)))
	// What client-go sends.
	accepts := map[string]string{asJSON: "application/json, */*", asProtobuf: "application/vnd.kubernetes.protobuf,application/json"}
	h := http.Header{
		"Accept":     {accepts[mediaType]},
		"User-Agent": {"kubelet/v1.37.0 (linux/amd64) kubernetes/0000000"},
	}
	maps.Copy(h, header)
	return call{
		request: r.WithContext(ctx), header: h, body: body,
		reader: reader, closer: io.NopCloser(reader), want: http.StatusOK, cancel: cancel,
	}
}
