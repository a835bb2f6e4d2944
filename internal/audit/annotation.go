package audit

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/user"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// Annotations of events. Those of gatehouse.dev say what upstream's events
// leave out: which credential was used, and why one was refused.
const (
	MethodAnnotation       = "authentication.gatehouse.dev/method"
	IssuerAnnotation       = "authentication.gatehouse.dev/issuer"
	CredentialIDAnnotation = "authentication.gatehouse.dev/credential-id"
	FailureAnnotation      = "authentication.gatehouse.dev/failure"
	// EndedAnnotation says why a request was ended that had been let in.
	EndedAnnotation = "authentication.gatehouse.dev/ended"
	// RequestIDAnnotation is what gatehouse explain finds a refused request by.
	RequestIDAnnotation = "gatehouse.dev/request-id"
	DecisionAnnotation  = "authorization.k8s.io/decision"
	ReasonAnnotation    = "authorization.k8s.io/reason"

	totalLatencyAnnotation = "apiserver.latency.k8s.io/total"
)

// maxFailureLength bounds, in bytes, a text that outsiders have a hand in.
const maxFailureLength = 1024

// Decision writes what was decided about the request of ctx into its event, as
// upstream's WithAuthorization does: err is annotated only if the answer does
// not allow. The reason is not rendered if the request is not recorded.
func Decision(ctx context.Context, answer authz.Answer, err error) {
	rec := recordOf(ctx)
	switch {
	case rec == nil:
	case answer.Verdict == authz.Allow:
		rec.annotate(ctx, DecisionAnnotation, "allow")
		rec.annotate(ctx, ReasonAnnotation, answer.Reason())
	case err != nil:
		rec.annotate(ctx, ReasonAnnotation, "internal error")
	default:
		rec.annotate(ctx, DecisionAnnotation, "forbid")
		rec.annotate(ctx, ReasonAnnotation, answer.Reason())
	}
}

// Impersonated writes who the caller of ctx acts as into the event, beside the
// caller himself. Constraint is the verb that was allowed, or empty.
func Impersonated(ctx context.Context, who *identity.Identity, constraint string) {
	audit.LogImpersonatedUser(ctx, who, constraint)
}

// Ended writes into the event of ctx why the request was ended though its caller
// had been let in.
func Ended(ctx context.Context, why string) {
	if rec := recordOf(ctx); rec != nil {
		rec.annotate(ctx, EndedAnnotation, printable(why))
	}
}

// Failed writes into the event of ctx why its caller is not served after all.
func Failed(ctx context.Context, err error) {
	if rec := recordOf(ctx); rec != nil {
		rec.annotate(ctx, FailureAnnotation, printable(err.Error()))
	}
}

// annotateCredential writes what proved the caller into the event, and what the
// caller's authenticator had to say.
func (rec *Record) annotateCredential(ctx context.Context, info user.Info, annotations []authn.Annotation) {
	for _, a := range annotations {
		rec.annotate(ctx, a.Key, a.Value)
	}
	caller, ok := info.(*identity.Identity)
	if !ok || caller == nil {
		return
	}
	c := &caller.Credential
	rec.annotate(ctx, MethodAnnotation, string(c.Method))
	if c.Issuer != "" {
		rec.annotate(ctx, IssuerAnnotation, c.Issuer)
	}
	if c.ID != "" {
		rec.annotate(ctx, CredentialIDAnnotation, c.ID)
	}
}

// attempted says which kinds of credential r has, in upstream's words
// (filters.WithFailedAuthenticationAudit).
func attempted(r *http.Request) string {
	var kinds []string
	if _, _, ok := r.BasicAuth(); ok {
		kinds = append(kinds, "basic")
	}
	scheme, _, more := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if more && strings.EqualFold(scheme, "bearer") {
		kinds = append(kinds, "bearer")
	}
	if r.URL.RawQuery != "" && strings.TrimSpace(r.URL.Query().Get(accessToken)) != "" {
		kinds = append(kinds, accessToken)
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		kinds = append(kinds, "x509")
	}
	if len(kinds) == 0 {
		return "Authentication failed, no credentials provided"
	}
	return "Authentication failed, attempted: " + strings.Join(kinds, ", ")
}

// printable returns text on one line, with everything that is not printable
// escaped as in Go, and cut to maxFailureLength.
func printable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		piece := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = `\x` + strconv.FormatUint(uint64(text[0]), 16)
		case !unicode.IsPrint(r):
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(piece) > maxFailureLength {
			return b.String() + "..."
		}
		b.WriteString(piece)
		text = text[size:]
	}
	return b.String()
}
