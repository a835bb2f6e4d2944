package v1alpha1

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// DeepCopyInto copies r into out.
func (r *Revocation) DeepCopyInto(out *Revocation) {
	*out = *r
	r.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	r.Spec.DeepCopyInto(&out.Spec)
}

// DeepCopy returns a copy of r.
func (r *Revocation) DeepCopy() *Revocation {
	if r == nil {
		return nil
	}
	out := new(Revocation)
	r.DeepCopyInto(out)
	return out
}

// DeepCopyObject returns a copy of r.
func (r *Revocation) DeepCopyObject() runtime.Object {
	if r == nil {
		return nil
	}
	return r.DeepCopy()
}

// DeepCopyInto copies s into out.
func (s *RevocationSpec) DeepCopyInto(out *RevocationSpec) {
	*out = *s
	out.Certificate = clone(s.Certificate)
	out.Token = clone(s.Token)
	out.Key = clone(s.Key)
	out.ServiceAccount = clone(s.ServiceAccount)
	out.Author = clone(s.Author)
	out.IssuedBefore = s.IssuedBefore.DeepCopy()
	out.CredentialExpiresAt = s.CredentialExpiresAt.DeepCopy()
	out.ExpiresAt = s.ExpiresAt.DeepCopy()
}

// clone copies what has no pointer in it.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	out := *p
	return &out
}

// DeepCopy returns a copy of s.
func (s *RevocationSpec) DeepCopy() *RevocationSpec {
	if s == nil {
		return nil
	}
	out := new(RevocationSpec)
	s.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies l into out.
func (l *RevocationList) DeepCopyInto(out *RevocationList) {
	*out = *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	if l.Items == nil {
		return
	}
	out.Items = make([]Revocation, len(l.Items))
	for i := range l.Items {
		l.Items[i].DeepCopyInto(&out.Items[i])
	}
}

// DeepCopy returns a copy of l.
func (l *RevocationList) DeepCopy() *RevocationList {
	if l == nil {
		return nil
	}
	out := new(RevocationList)
	l.DeepCopyInto(out)
	return out
}

// DeepCopyObject returns a copy of l.
func (l *RevocationList) DeepCopyObject() runtime.Object {
	if l == nil {
		return nil
	}
	return l.DeepCopy()
}

// DeepCopyInto copies c into out.
func (c *Credential) DeepCopyInto(out *Credential) {
	*out = *c
	c.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.User.Groups = slices.Clone(c.Status.User.Groups)
	out.Status.Audiences = slices.Clone(c.Status.Audiences)
	out.Status.BoundTo = clone(c.Status.BoundTo)
	c.Status.IssueTime.DeepCopyInto(&out.Status.IssueTime)
	out.Status.ExpirationTime = c.Status.ExpirationTime.DeepCopy()
	out.Status.LastUsedTime = c.Status.LastUsedTime.DeepCopy()
}

// DeepCopyObject returns a copy of c.
func (c *Credential) DeepCopyObject() runtime.Object {
	if c == nil {
		return nil
	}
	out := new(Credential)
	c.DeepCopyInto(out)
	return out
}

// DeepCopyObject returns a copy of l.
func (l *CredentialList) DeepCopyObject() runtime.Object {
	if l == nil {
		return nil
	}
	out := &CredentialList{TypeMeta: l.TypeMeta}
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	if l.Items != nil {
		out.Items = make([]Credential, len(l.Items))
		for i := range l.Items {
			l.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
	return out
}

// DeepCopyInto copies e into out.
func (e *Explanation) DeepCopyInto(out *Explanation) {
	*out = *e
	e.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	if s := clone(e.Spec); s != nil {
		s.Headers = maps.Clone(s.Headers)
		for name, values := range s.Headers {
			s.Headers[name] = slices.Clone(values)
		}
		s.AsRequest = clone(s.AsRequest)
		out.Spec = s
	}
	out.Status.NotRecorded = clone(e.Status.NotRecorded)
	out.Status.Requests = slices.Clone(e.Status.Requests)
	for i := range out.Status.Requests {
		out.Status.Requests[i].detach()
	}
}

// DeepCopyObject returns a copy of e.
func (e *Explanation) DeepCopyObject() runtime.Object {
	if e == nil {
		return nil
	}
	out := new(Explanation)
	e.DeepCopyInto(out)
	return out
}

// detach has r share nothing with what it is a copy of.
func (r *ExplanationRequest) detach() {
	r.Time = r.Time.DeepCopy()
	if r.Review = clone(r.Review); r.Review != nil {
		r.Review.Audiences = slices.Clone(r.Review.Audiences)
	}
	r.Ladder = slices.Clone(r.Ladder)
	for i := range r.Ladder {
		r.Ladder[i].Checks = slices.Clone(r.Ladder[i].Checks)
	}
	if r.User = clone(r.User); r.User != nil {
		r.User.Groups, r.User.Expires = slices.Clone(r.User.Groups), clone(r.User.Expires)
	}
	if r.Authorization = clone(r.Authorization); r.Authorization != nil {
		r.Authorization.detach()
	}
}

// detach has a share nothing with what it is a copy of.
func (a *ExplanationAuthorization) detach() {
	a.Nearest = slices.Clone(a.Nearest)
	for i := range a.Nearest {
		a.Nearest[i].Has = slices.Clone(a.Nearest[i].Has)
	}
	a.Roles = slices.Clone(a.Roles)
	a.Instead = slices.Clone(a.Instead)
	for i := range a.Instead {
		a.Instead[i].detach()
	}
}
