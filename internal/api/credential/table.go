package credential

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"gatehouse.dev/gatehouse/internal/register"
)

// Columns are those of a table; kubectl shows the ones of priority 1 with
// -o wide.
func Columns() []metav1.TableColumnDefinition {
	column := func(name string, priority int32, about string) metav1.TableColumnDefinition {
		return metav1.TableColumnDefinition{Name: name, Type: "string", Priority: priority, Description: about}
	}
	first := column("Name", 0, "The name of the entry.")
	first.Format = "name"
	return []metav1.TableColumnDefinition{
		first,
		column("User", 0, "For whom the credential is."),
		column("Method", 0, "The kind of credential."),
		column("Expires", 0, "In how long it ends."),
		column("Last Used", 0, "How long ago it was last used, to the hour."),
		column("Age", 0, "How long ago it was issued."),
		column("Requested By", 1, "Who asked for it, and who acted as him."),
		column("Bound To", 1, "The object that it ends with."),
		column("Audiences", 1, "What a token is meant for."),
		column("Signer", 1, "The signer of a certificate."),
		column("Renewed From", 1, "The name of the entry of the certificate that it was renewed from."),
		column("Credential ID", 1, "What requests with it have as authentication.kubernetes.io/credential-id."),
	}
}

// row returns the row of an entry.
func (w *writer) row(e *register.Entry) metav1.TableRow {
	row := metav1.TableRow{Cells: Cells(e.Object(), w.now)}
	object := e.Object()
	switch w.include {
	case metav1.IncludeObject:
		row.Object = runtime.RawExtension{Object: &object}
	case metav1.IncludeMetadata:
		row.Object = runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
			ObjectMeta: object.ObjectMeta,
		}}
	case metav1.IncludeNone:
	}
	return row
}

const none = "<none>"

// Cells returns what a table shows of a credential, as of now.
func Cells(c register.Credential, now time.Time) []any {
	s := &c.Status
	requester := s.RequestedBy.Username
	if s.RequestedBy.Impersonator != "" {
		requester += " (by " + s.RequestedBy.Impersonator + ")"
	}
	return []any{
		c.Name, s.User.Username, s.Method, expires(s, now), lastUsed(s, now), duration.HumanDuration(now.Sub(s.IssueTime.Time)),
		orNone(requester), bound(s.BoundTo), orNone(strings.Join(s.Audiences, ",")), orNone(s.SignerName), orNone(s.RenewedFrom),
		orNone(s.CredentialID),
	}
}

func expires(s *register.CredentialStatus, now time.Time) string {
	switch {
	case s.ExpirationTime == nil:
		return "never"
	case !now.Before(s.ExpirationTime.Time):
		return "ended"
	default:
		return duration.HumanDuration(s.ExpirationTime.Sub(now))
	}
}

func lastUsed(s *register.CredentialStatus, now time.Time) string {
	if s.LastUsedTime == nil {
		return none
	}
	if ago := now.Sub(s.LastUsedTime.Time).Truncate(time.Hour); ago > 0 {
		return duration.HumanDuration(ago)
	}
	return "<1h"
}

func bound(b *register.CredentialReference) string {
	if b == nil {
		return none
	}
	name := b.Name
	if b.Namespace != "" {
		name = b.Namespace + "/" + name
	}
	return b.Kind + " " + name
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}
