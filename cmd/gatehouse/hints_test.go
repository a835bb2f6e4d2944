package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/server/asking"
)

// Whatever goes wrong between here and the server, there is something to do.
func TestMendAsking(t *testing.T) {
	keys := schema.GroupResource{Resource: "keys"}
	called := func(err error) error {
		return fmt.Errorf("asking: %w", &url.Error{Op: "Get", URL: "https://a", Err: err})
	}
	none := clientcmd.NewEmptyConfigError("no configuration has been provided, try setting KUBERNETES_MASTER environment variable")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing special", errors.New("a"), "name the server with --kubeconfig, as somebody who may read it"},
		{"no kubeconfig", fmt.Errorf("reading kubeconfig: %w", none), "KUBECONFIG"},
		{"no such kubeconfig", &fs.PathError{Op: "stat", Path: "none", Err: syscall.ENOENT}, "name the server with --kubeconfig, as somebody who may read it"},
		{"no such context", errors.New(`asking: reading kubeconfig: context "a" does not exist`), "name a context"},
		{"nobody listens", called(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), "see that the server runs"},
		{"no answer", called(context.DeadlineExceeded), "see that the server runs"},
		{"no such host", called(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}), "see that the server runs"},
		{"another server", called(x509.UnknownAuthorityError{}), "trusts another one"},
		{"another name", called(x509.HostnameError{Certificate: &x509.Certificate{}}), "trusts another one"},
		{"a server whose certificate has expired", called(x509.CertificateInvalidError{Reason: x509.Expired}), "trusts another one"},
		{"Ctrl-C", called(context.Canceled), "call it again"},
		{"401", fmt.Errorf("asking: %w", &asking.Refusal{Code: 401, RequestID: "abc"}), "gatehouse explain abc"},
		{"401 of nobody we know", &asking.Refusal{Code: 401}, "has expired, was revoked, or is of another server; gatehouse admin kubeconfig"},
		{"401 of client-go", apierrors.NewUnauthorized("no"), "gatehouse admin kubeconfig"},
		{"403", &asking.Refusal{Code: 403, RequestID: "abc"}, "ask as somebody who may read it; gatehouse explain abc"},
		{"403 of client-go", apierrors.NewForbidden(keys, "a", nil), "do what the message says, or ask as somebody who may read it"},
		{"403 for what is asked", &asking.Refusal{Code: 403, Message: "set spec.force"}, "do what the message says"},
		{"404", &asking.Refusal{Code: 404}, "see that the name is right"},
		{"409", apierrors.NewConflict(keys, "a", nil), "do what the message says"},
		{"422", &asking.Refusal{Code: 422}, "do what the message says"},
		{"429", apierrors.NewTooManyRequests("later", 1), "try again"},
		{"503", &asking.Refusal{Code: 503}, "try again"},
	} {
		if got := mendAsking(tt.err, "read it"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want something with %q", tt.name, got, tt.want)
		}
	}
}
