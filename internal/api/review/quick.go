package review

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// quick decodes a review as kube-apiserver, kubelet and client-go write it, in a
// tenth of the time that the serializer takes. What it returns is what the
// serializer would; it returns nil for everything of another form, which is the
// serializer's to decode or to refuse.
func (k *kind) quick(body []byte) object {
	s := &scanner{string(body)}
	switch r := k.new().(type) {
	case *authenticationv1.TokenReview:
		if s.review(k, &r.TypeMeta, "user", func() bool { return s.token(&r.Spec) }) {
			return r
		}
	case *authorizationv1.SubjectAccessReview:
		if s.review(k, &r.TypeMeta, "allowed", func() bool { return s.access(&r.Spec) }) {
			return r
		}
	case *authorizationv1.LocalSubjectAccessReview:
		if s.review(k, &r.TypeMeta, "allowed", func() bool { return s.access(&r.Spec) }) {
			return r
		}
	case *authorizationv1.SelfSubjectAccessReview:
		if s.review(k, &r.TypeMeta, "allowed", func() bool { return s.selfAccess(&r.Spec) }) {
			return r
		}
	}
	return nil
}

// review reads a whole review. Its metadata and its status, where clients write
// one only because Go does, have to be empty.
func (s *scanner) review(k *kind, t *metav1.TypeMeta, inStatus string, spec func() bool) bool {
	ok := s.object([]string{"kind", "apiVersion", "metadata", "spec", "status"}, func(i int) bool {
		switch i {
		case 0:
			t.Kind = k.gvk.Kind
			return s.is(t.Kind)
		case 1:
			t.APIVersion = k.apiVersion
			return s.is(t.APIVersion)
		case 2:
			return s.object([]string{"creationTimestamp"}, func(int) bool { return s.word("null") })
		case 3:
			return spec()
		default:
			return s.emptyStatus(inStatus)
		}
	})
	return ok && s.done() && t.Kind != "" && t.APIVersion != ""
}

// emptyStatus reads a status in which nothing is said: at most a user without
// anything, or that something is not allowed.
func (s *scanner) emptyStatus(name string) bool {
	return s.object([]string{name}, func(int) bool {
		if name == "allowed" {
			return s.word("false")
		}
		return s.object(nil, nil)
	})
}

func (s *scanner) token(spec *authenticationv1.TokenReviewSpec) bool {
	return s.object([]string{"token", "audiences"}, func(i int) (ok bool) {
		if i == 0 {
			return s.into(&spec.Token)
		}
		spec.Audiences, ok = s.list()
		return ok
	})
}

func (s *scanner) access(spec *authorizationv1.SubjectAccessReviewSpec) bool {
	names := []string{"resourceAttributes", "nonResourceAttributes", "user", "groups", "extra", "uid"}
	return s.object(names, func(i int) (ok bool) {
		switch i {
		case 0:
			return s.resource(&spec.ResourceAttributes)
		case 1:
			return s.nonResource(&spec.NonResourceAttributes)
		case 2:
			return s.into(&spec.User)
		case 3:
			spec.Groups, ok = s.list()
			return ok
		case 4:
			return s.extra(&spec.Extra)
		default:
			return s.into(&spec.UID)
		}
	})
}

func (s *scanner) selfAccess(spec *authorizationv1.SelfSubjectAccessReviewSpec) bool {
	return s.object([]string{"resourceAttributes", "nonResourceAttributes"}, func(i int) bool {
		if i == 0 {
			return s.resource(&spec.ResourceAttributes)
		}
		return s.nonResource(&spec.NonResourceAttributes)
	})
}

// resource reads what is asked about. Selectors are the serializer's.
func (s *scanner) resource(where **authorizationv1.ResourceAttributes) bool {
	a := &authorizationv1.ResourceAttributes{}
	*where = a
	names := []string{"namespace", "verb", "group", "version", "resource", "subresource", "name"}
	return s.object(names, func(i int) bool {
		return s.into([]*string{&a.Namespace, &a.Verb, &a.Group, &a.Version, &a.Resource, &a.Subresource, &a.Name}[i])
	})
}

func (s *scanner) nonResource(where **authorizationv1.NonResourceAttributes) bool {
	a := &authorizationv1.NonResourceAttributes{}
	*where = a
	return s.object([]string{"path", "verb"}, func(i int) bool { return s.into([]*string{&a.Path, &a.Verb}[i]) })
}

func (s *scanner) extra(where *map[string]authorizationv1.ExtraValue) bool {
	extra := map[string]authorizationv1.ExtraValue{}
	*where = extra
	return s.members(func(name string) bool {
		if _, twice := extra[name]; twice {
			return false
		}
		values, ok := s.list()
		extra[name] = values
		return ok
	})
}
