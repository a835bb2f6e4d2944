package door

import (
	"fmt"
	"net/http"

	kubeaudit "k8s.io/apiserver/pkg/audit"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/explain"
)

// RequestIDHeader tells who was refused by which ID an operator finds out why.
// Unlike the audit ID it is the server's own, so nobody can have chosen it.
const RequestIDHeader = "Gatehouse-Request-Id"

// A Journal keeps for operators what callers are not told.
type Journal interface {
	// NewID returns the ID of a refused request, which nobody can guess.
	NewID() string
	// Refused is told of a credential that was refused, with the status of the
	// answer. The ladder, which says what each authenticator found, may be called
	// until Refused returns.
	Refused(id, auditID string, r *http.Request, status int, ladder func() []authn.Rung)
	// Denied is told of what a caller may not do.
	Denied(id, auditID string, r *http.Request, why explain.Denial)
	// Misread is told of headers that do not say whom a caller acts as.
	Misread(id, auditID string, r *http.Request, caller *identity.Identity, ladder func() []authn.Rung)
}

// noteRefusal records that a credential was refused with a status, and returns
// the ID that it is found by.
func (d *door) noteRefusal(w http.ResponseWriter, r *http.Request, status int, err error) string {
	id := d.Journal.NewID()
	w.Header().Set(RequestIDHeader, id)
	d.Journal.Refused(id, AuditIDOf(w), r, status, func() []authn.Rung {
		if err == authn.ErrNoCredential {
			// Nobody had anything to refuse; still, who was asked?
			_, ladder, _ := authn.Trace(d.Authenticator, r)
			return ladder
		}
		return authn.Ladder(err)
	})
	return id
}

// noteDenial records a 403. The caller was told the first of what is lacking.
func (d *door) noteDenial(w http.ResponseWriter, r *http.Request, lacking ...explain.Lack) {
	id := d.newRequestID(w, r)
	d.Journal.Denied(id, AuditIDOf(w), r, explain.Denial{Ladder: passageOf(r.Context()).unheeded, Lacking: lacking})
}

// newRequestID returns the ID of a request whose caller is known, and tells it.
func (d *door) newRequestID(w http.ResponseWriter, r *http.Request) string {
	id := d.Journal.NewID()
	w.Header().Set(RequestIDHeader, id)
	kubeaudit.AddAuditAnnotation(r.Context(), audit.RequestIDAnnotation, id)
	return id
}

// AuditIDOf returns the audit ID of the request that w answers.
func AuditIDOf(w http.ResponseWriter) string { return w.Header().Get(auditIDHeader) }

// auditIDHeader is Audit-ID as net/http keeps it.
const auditIDHeader = "Audit-Id"

// AttributesOf says what a request asks for, apart from who asks.
func AttributesOf(r *http.Request) (authz.Attributes, error) {
	info, err := newResolver().NewRequestInfo(r)
	if err != nil {
		return authz.Attributes{}, fmt.Errorf("reading what is asked for: %w", err)
	}
	return attributesOf(info), nil
}
