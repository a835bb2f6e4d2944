package v1alpha1

import (
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
