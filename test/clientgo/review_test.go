package clientgo_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// A review is one of the questions, and what its answer has to be.
type review struct {
	path string
	ask  object
	want func(answer runtime.Object) bool
}

// reviews are all six, asked by alice, who may read pods and ask them. The
// token is erin's.
func reviews(ns string) []review {
	pods := &authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}
	const authentication, authorization = "/apis/authentication.k8s.io/v1/", "/apis/authorization.k8s.io/v1/"
	return []review{
		{authentication + "tokenreviews",
			&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "erin-token"}},
			func(o runtime.Object) bool {
				s := o.(*authenticationv1.TokenReview).Status
				return s.Authenticated && s.User.Username == "erin" && s.User.UID == "erin-uid" && s.Error == ""
			}},
		{authentication + "selfsubjectreviews", &authenticationv1.SelfSubjectReview{}, func(o runtime.Object) bool {
			u := o.(*authenticationv1.SelfSubjectReview).Status.UserInfo
			return u.Username == "alice" && u.UID == "alice-uid" && fmt.Sprint(u.Groups) == "[team-alice system:authenticated]"
		}},
		{authorization + "subjectaccessreviews",
			&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "alice", ResourceAttributes: pods}},
			func(o runtime.Object) bool {
				s := o.(*authorizationv1.SubjectAccessReview).Status
				return s.Allowed && !s.Denied && strings.HasPrefix(s.Reason, "RBAC: allowed by ClusterRoleBinding")
			}},
		{authorization + "namespaces/" + ns + "/localsubjectaccessreviews",
			&authorizationv1.LocalSubjectAccessReview{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns},
				Spec:       authorizationv1.SubjectAccessReviewSpec{User: "bob", ResourceAttributes: pods},
			},
			func(o runtime.Object) bool {
				s := o.(*authorizationv1.LocalSubjectAccessReview).Status
				return !s.Allowed && !s.Denied
			}},
		{authorization + "selfsubjectaccessreviews",
			&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: pods}},
			func(o runtime.Object) bool { return o.(*authorizationv1.SelfSubjectAccessReview).Status.Allowed }},
		{authorization + "selfsubjectrulesreviews",
			&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns}},
			func(o runtime.Object) bool {
				s := o.(*authorizationv1.SelfSubjectRulesReview).Status
				return !s.Incomplete && s.EvaluationError == "" && strings.Contains(fmt.Sprint(s.ResourceRules), "[get] [] [pods]")
			}},
	}
}

// TestReviews asks every review in every encoding: as it is, as a dry run, and
// with a field that nobody knows. Each has its event, with both objects.
func TestReviews(t *testing.T) {
	t.Parallel()
	w, log := newAuditedWorld(t)
	ns := w.namespace(t)
	w.allow(t, "alice",
		rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}},
		rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}},
		rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews", "localsubjectaccessreviews"}},
	)
	for _, r := range reviews(ns) {
		for _, encoding := range []string{asJSON, asYAML, asProtobuf} {
			kind := r.path[strings.LastIndexByte(r.path, '/')+1:]
			t.Run(kind+"/"+encoding, func(t *testing.T) {
				body := encode(t, r.ask, encoding)
				for _, query := range []string{"", "?dryRun=All", "?fieldValidation=Strict"} {
					a, event := w.audited(t, log, w.as("alice"), r.path+query, encoding, body)
					answered, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(a.body), nil, nil)
					if a.code != 201 || err != nil || !r.want(answered) {
						t.Fatalf("%s: %d %v: %s", query, a.code, err, a.body)
					}
					if got := a.header.Get("Content-Type"); got != encoding {
						t.Errorf("the answer is %s", got)
					}
					wantReviewed(t, event, r, query)
				}
				a, event := w.audited(t, log, w.as("alice"), r.path+"?dryRun=Some", encoding, body)
				wantEvent(t, event, a, 422)
				if encoding == asProtobuf {
					return // has no names, and so no unknown ones
				}
				a, event = w.audited(t, log, w.as("alice"), r.path+"?fieldValidation=Strict", encoding, surprise(t, r.ask, encoding))
				wantAnswer(t, a, 400, `unknown field`, `surprise`)
				wantEvent(t, event, a, 400)
				a, _ = w.audited(t, log, w.as("alice"), r.path, encoding, surprise(t, r.ask, encoding))
				wantWarnings(t, a.header, []string{`unknown field "surprise"`})
			})
		}
	}
	t.Run("forbidden", func(t *testing.T) {
		a, event := w.audited(t, log, w.as("bob"), "/apis/authentication.k8s.io/v1/tokenreviews", asJSON, `{"spec":{"token":"erin-token"}}`)
		wantAnswer(t, a, 403, `User \"bob\" cannot create resource \"tokenreviews\" in API group \"authentication.k8s.io\" at the cluster scope`)
		wantEvent(t, event, a, 403)
		if event.Annotations["authorization.k8s.io/decision"] != "forbid" || event.User.Username != "bob" {
			t.Errorf("event %+v", event)
		}
	})
	t.Run("refused", func(t *testing.T) {
		nobody := rest.AnonymousClientConfig(w.admin)
		nobody.BearerToken = "not-a-token-of-anybody"
		a, event := w.audited(t, log, nobody, "/apis/authentication.k8s.io/v1/selfsubjectreviews", asJSON, `{}`)
		wantAnswer(t, a, 401, `"reason":"Unauthorized"`, `"message":"Unauthorized"`)
		wantEvent(t, event, a, 401)
		if event.Annotations["authentication.gatehouse.dev/failure"] == "" || event.User.Username != "" || event.ResponseStatus.Reason != metav1.StatusReasonUnauthorized {
			t.Errorf("event %+v", event)
		}
	})
	if text := log.text(t); strings.Contains(text, "erin-token") || strings.Contains(text, "not-a-token") || strings.Contains(text, "alice-token") {
		t.Error("a token is in the audit log")
	}
	if text := w.Log(); strings.Contains(text, "erin-token") || strings.Contains(text, "not-a-token") {
		t.Error("a token is in the server's log")
	}
}

// wantReviewed expects of an event all that is known of an answered review.
func wantReviewed(t *testing.T, e *auditv1.Event, r review, query string) {
	t.Helper()
	if e.Level != auditv1.LevelRequestResponse || e.Verb != "create" || e.RequestURI != r.path+query || e.ResponseStatus.Code != 201 {
		t.Errorf("event %+v", e)
	}
	if e.User.Username != "alice" || e.User.UID != "alice-uid" {
		t.Errorf("user %+v", e.User)
	}
	for annotation, want := range map[string]string{
		"authentication.gatehouse.dev/method":        "StaticToken",
		"authentication.gatehouse.dev/credential-id": "TOKEN=",
		"authorization.k8s.io/decision":              "allow",
		"authorization.k8s.io/reason":                "RBAC: allowed by ClusterRoleBinding",
	} {
		if got := e.Annotations[annotation]; !strings.HasPrefix(got, want) {
			t.Errorf("annotation %s is %q, want %s...", annotation, got, want)
		}
	}
	kind := kindOf(t, r.ask)
	for name, raw := range map[string]*runtime.Unknown{"request": e.RequestObject, "response": e.ResponseObject} {
		if raw == nil {
			t.Errorf("the %s is not in the event", name)
			continue
		}
		var obj struct {
			metav1.TypeMeta
			Spec, Status map[string]any
		}
		if err := json.Unmarshal(raw.Raw, &obj); err != nil || obj.GroupVersionKind() != kind {
			t.Errorf("%s: %v in %s", name, err, raw.Raw)
		}
		if name == "response" && len(obj.Status) == 0 && kind.Kind != "LocalSubjectAccessReview" {
			t.Errorf("the response has no status: %s", raw.Raw)
		}
		if kind.Kind == "TokenReview" && obj.Spec["token"] != "[redacted]" {
			t.Errorf("the token of the %s is %v", name, obj.Spec["token"])
		}
	}
}

// wantEvent expects an event to be of the answer.
func wantEvent(t *testing.T, e *auditv1.Event, a answer, code int) {
	t.Helper()
	if a.code != code || e.ResponseStatus == nil || int(e.ResponseStatus.Code) != code {
		t.Errorf("answered %d %s, event has %+v, want %d", a.code, a.body, e.ResponseStatus, code)
	}
}

// encode returns obj as the body of a request.
func encode(t *testing.T, obj object, encoding string) string {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), encoding)
	if !ok {
		t.Fatalf("no serializer of %s", encoding)
	}
	body, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, kindOf(t, obj).GroupVersion()), obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// kindOf returns what the Go type of obj stands for.
func kindOf(t *testing.T, obj runtime.Object) schema.GroupVersionKind {
	t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		t.Fatal(err)
	}
	return kinds[0]
}

// surprise returns obj with a field that it does not have.
func surprise(t *testing.T, obj object, encoding string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(encode(t, obj, asJSON)), &fields); err != nil {
		t.Fatal(err)
	}
	fields["surprise"] = 1
	if encoding == asYAML {
		return string(must[[]byte](t)(yaml.Marshal(fields)))
	}
	return string(must[[]byte](t)(json.Marshal(fields)))
}

// audited sends a POST and returns its event, too.
func (w *world) audited(t *testing.T, log auditLog, c *rest.Config, path, encoding, body string) (answer, *auditv1.Event) {
	t.Helper()
	id := uuid.NewUUID()
	a := w.sendAs(t, c, "POST", path, body, "Content-Type", encoding, "Accept", encoding, "Audit-ID", string(id))
	if got := a.header.Get("Audit-Id"); got != string(id) {
		t.Errorf("the answer has audit ID %q, want %q", got, id)
	}
	return a, log.event(t, id)
}
