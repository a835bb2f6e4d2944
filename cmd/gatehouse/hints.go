package main

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/server/asking"
)

// explainAsking adds to an error of asking the server of a kubeconfig what can be
// done about it. Right is what the caller has to be allowed.
func explainAsking(cmd *cobra.Command, err error, right string) error {
	return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: mendAsking(err, right)}
}

func mendAsking(err error, right string) string {
	if code, id := refusalOf(err); code != 0 {
		return mendRefusal(code, id, right)
	}
	otherServer := x509.UnknownAuthorityError{}
	otherName := x509.HostnameError{}
	bad := x509.CertificateInvalidError{}
	unreachable := (*net.OpError)(nil)
	failed := (*url.Error)(nil)
	switch {
	case errors.Is(err, context.Canceled):
		return "it was interrupted: call it again"
	case says(err, "reading kubeconfig: ", "no configuration has been provided"):
		return "name a kubeconfig with --kubeconfig or in KUBECONFIG; that of gatehouse up is admin.kubeconfig in its data directory"
	case errors.As(err, &otherServer), errors.As(err, &otherName), errors.As(err, &bad):
		return "take a kubeconfig of this server: the one that is used trusts another one, or one of before"
	case errors.As(err, &unreachable), errors.As(err, &failed) && (failed.Timeout() || errors.Is(failed, context.DeadlineExceeded)):
		return "see that the server runs where the kubeconfig says, or name another with --kubeconfig or --context"
	case says(err, "reading kubeconfig: ", "error loading config file"):
		return "correct the file, or name another with --kubeconfig"
	case says(err, "reading kubeconfig: context "):
		return "name a context of the kubeconfig with --context; kubectl config get-contexts lists them"
	}
	return "name the server with --kubeconfig, as somebody who may " + right
}

// says reports whether an error has all of the texts. What comes of kubeconfigs has
// no types that survive being wrapped.
func says(err error, texts ...string) bool {
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			return false
		}
	}
	return true
}

// refusalOf returns the code of an answer that is no good, and the ID by which it
// is explained, if there is one.
func refusalOf(err error) (code int, id string) {
	if r, ok := errors.AsType[*asking.Refusal](err); ok {
		return r.Code, r.RequestID
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return int(status.Status().Code), ""
	}
	return 0, ""
}

func mendRefusal(code int, id, right string) string {
	why := ""
	if id != "" {
		why = "; gatehouse explain " + id + " tells who may ask it why"
	}
	switch {
	case code == http.StatusUnauthorized:
		return "take another kubeconfig: the credential of this one has expired, was revoked, or is of another server" + why +
			"; gatehouse admin kubeconfig lets the owner of the data directory in"
	case code == http.StatusForbidden && id != "": // by the door, and not for what is asked
		return "ask as somebody who may " + right + why
	case code == http.StatusNotFound:
		return "see that the name is right, and that the server is a Gatehouse of this version"
	case code == http.StatusTooManyRequests, code >= http.StatusInternalServerError:
		return "try again in a moment; /readyz?verbose of the server says what it waits for"
	}
	return "do what the message says, or ask as somebody who may " + right
}
