package review_test

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// FuzzBody sends any bytes as any review in any encoding. The answer must be a
// review or a refusal, and readable.
func FuzzBody(f *testing.F) {
	paths := []string{tokenPath, whoamiPath, accessPath, localPath, canIPath, rulesPath}
	cf := codecs(f)
	types := cf.SupportedMediaTypes()
	for i, o := range []runtime.Object{
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: goodToken}},
		&authenticationv1.SelfSubjectReview{},
		&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{FieldSelector: &authorizationv1.FieldSelectorAttributes{RawSelector: "a=b"}},
		}},
		&authorizationv1.LocalSubjectAccessReview{},
		&authorizationv1.SelfSubjectAccessReview{},
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "ns"}},
	} {
		gv := authorizationv1.SchemeGroupVersion
		if i < 2 {
			gv = authenticationv1.SchemeGroupVersion
		}
		for j, info := range types {
			body, err := runtime.Encode(cf.EncoderForVersion(info.Serializer, gv), o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), uint8(j), body)
		}
	}
	f.Add(uint8(0), uint8(0), []byte(`{"kind":"TokenReview","Kind":"Foo","spec":null}`))
	h := newHandler(f, newWorld())
	f.Fuzz(func(t *testing.T, path, mediaType uint8, body []byte) {
		info := types[int(mediaType)%len(types)]
		w, _ := post(h, paths[int(path)%len(paths)], info.MediaType, info.MediaType, body)
		switch w.Code {
		case 201, 400, 422:
		default:
			t.Errorf("code %d: %s", w.Code, w.Body)
		}
		if _, _, err := info.Serializer.Decode(w.Body.Bytes(), nil, nil); err != nil {
			t.Errorf("answer %q: %v", w.Body, err)
		}
	})
}
