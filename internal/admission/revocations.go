package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"

	"gatehouse.dev/gatehouse/api/v1alpha1"
	"gatehouse.dev/gatehouse/identity"
)

// forceField is what lets somebody lock himself out.
const forceField = "spec.force"

// Revocations keeps people from locking themselves out by a slip: it refuses a
// Revocation that would hit its own author, or leave nobody who may do
// everything, unless it says force. And it keeps one from ending before what it
// takes back: what was issued here ends when the register says, and not when the
// client does; and it has those of certificates reach what was renewed. It cannot
// be switched off.
type Revocations struct {
	// Hits reports whether a Revocation refuses somebody, and Revoked whether those
	// that are in force do.
	Hits    func(*v1alpha1.Revocation, *identity.Identity) bool
	Revoked func(*identity.Identity) bool
	// Administrators are those who may do everything, each as somebody who has
	// only that by which he is one: a name, a group, or a certificate.
	Administrators func() ([]*identity.Identity, error)
	// Issued returns what is known of the one certificate or token that is named,
	// or nil if it was not issued here. It is called once for a Revocation.
	Issued func(context.Context, *v1alpha1.RevocationSpec) (*Issued, error)
}

// Issued is what is known of a credential that was issued here.
type Issued struct {
	// Ends is when it expires, or zero if it does not.
	Ends time.Time
	// Chain is what a certificate has in common with all that was renewed from it
	// and that it was renewed from, or "" if it cannot be renewed.
	Chain string
}

// Handles is true for new Revocations.
func (Revocations) Handles(a admission.Attributes) bool {
	return a.GetKind().Group == v1alpha1.Group && a.GetResource().Resource == "revocations" &&
		a.GetOperation() == admission.Create && a.GetSubresource() == ""
}

// Admit writes down when the credential that is named ends, where that is known,
// whatever the client says about it; and of which chain of renewals a certificate
// is.
func (p Revocations) Admit(ctx context.Context, a admission.Attributes) error {
	r, ok := a.GetObject().(*v1alpha1.Revocation)
	if !ok || r.Spec.Certificate == nil && r.Spec.Token == nil {
		return nil
	}
	issued, err := p.Issued(ctx, &r.Spec)
	if err != nil {
		return apierrors.NewServiceUnavailable("it cannot be looked up now when the credential ends and what was renewed from it, so nothing is revoked: try again")
	}
	if issued == nil {
		// What the register has forgotten by now may be known to who has kept the
		// Revocation.
		return nil
	}
	r.Spec.CredentialExpiresAt = nil
	if !issued.Ends.IsZero() {
		r.Spec.CredentialExpiresAt = &metav1.Time{Time: issued.Ends}
	}
	// Who had the key of a certificate before it was revoked may have renewed it.
	// It is of one chain for ever, so that nothing is missed that is renewed
	// meanwhile.
	if c := r.Spec.Certificate; c != nil && c.Renewals != v1alpha1.RenewalsKept && issued.Chain != "" {
		c.Chain = issued.Chain
	}
	return nil
}

// Judge refuses by the rules above.
func (p Revocations) Judge(_ context.Context, a admission.Attributes) error {
	r, ok := a.GetObject().(*v1alpha1.Revocation)
	if !ok {
		return apierrors.NewInternalError(errors.New("the object is no Revocation"))
	}
	who, err := caller(a.GetUserInfo())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if end := r.Spec.ExpiresAt; end != nil && !end.After(time.Now()) {
		return refuse(a, "spec.expiresAt", "spec.expiresAt %s is over, so nothing would be revoked", end.UTC().Format(time.RFC3339))
	}
	if r.Spec.Force {
		return nil
	}
	if p.Hits(r, who) {
		return refuse(a, forceField, "it would revoke what you act with yourself, %s: set spec.force (gatehouse revoke --force) if you mean it", r.Spec.Target())
	}
	return p.leaveOne(a, r)
}

// leaveOne wants somebody to be left who may do everything, if there is somebody
// now.
func (p Revocations) leaveOne(a admission.Attributes, r *v1alpha1.Revocation) error {
	all, err := p.Administrators()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("looking for who may do everything: %w", err))
	}
	var hit []string
	for _, admin := range all {
		switch {
		case p.Revoked(admin):
		case !p.Hits(r, admin):
			return nil
		default:
			hit = append(hit, describeAdministrator(admin))
		}
	}
	if len(hit) == 0 {
		return nil
	}
	return refuse(a, forceField, "it would revoke the last who may do everything, %s: set spec.force (gatehouse revoke --force) if you mean it", strings.Join(hit, ", "))
}

// refuse names the field of the spec that would mend it, for programs.
func refuse(a admission.Attributes, field, format string, args ...any) error {
	cause := fmt.Errorf(format, args...)
	err := admission.NewForbidden(a, cause)
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok && status.ErrStatus.Details != nil {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: metav1.CauseTypeForbidden, Field: field, Message: cause.Error(),
		})
	}
	return err
}

func describeAdministrator(who *identity.Identity) string {
	if who.Name == "" && len(who.Groups) > 0 {
		return "group " + who.Groups[0]
	}
	return "user " + who.Name
}
