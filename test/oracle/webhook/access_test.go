package webhook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/cel"
	upstream "k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"

	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/authz/webhook"
	"gatehouse.dev/gatehouse/identity"
)

// accessStatus writes the status of a SubjectAccessReview.
func (w writer) accessStatus() string {
	if w.seldom(50) {
		return w.pick(`null`, `[]`, `{}`, `"x"`, `1`)
	}
	return object(
		w.member("allowed", `true`, `true`, `false`),
		w.member("denied", `true`, `false`, `false`),
		w.member("reason", `""`, `"because"`, `"a\nb"`, `"\u00e9"`),
		w.member("evaluationError", `""`, `"x"`),
		w.member("more", `1`),
	)
}

// request writes a request of a user, in both forms.
func (w writer) request(name string) (*authz.Attributes, authorizer.AttributesRecord) {
	u := &user.DefaultInfo{Name: name, UID: w.pick("", "7")}
	for range w.IntN(3) {
		u.Groups = append(u.Groups, w.pick("a", "b", ""))
	}
	switch w.IntN(3) {
	case 0:
		u.Extra = map[string][]string{}
	case 1:
		u.Extra = map[string][]string{"k": {"v", ""}, w.pick("a", "k"): nil}
	}
	a := &authz.Attributes{
		User:       &identity.Identity{Name: u.Name, UID: u.UID, Groups: u.Groups, Extra: u.Extra},
		IsResource: w.IntN(3) > 0, Verb: w.pick("get", "list", "", "GET"), APIGroup: w.pick("", "apps"), APIVersion: w.pick("v1", "*"),
		Resource: w.pick("pods", "nodes", ""), Subresource: w.pick("", "log"), Namespace: w.pick("", "a"), Name: w.pick("", "n", "\"<é"), Path: w.pick("", "/", "/a"),
		FieldSelector: w.pick("", "", "a=b", "a!=b,c==d", "a", "x=\\=y", ","), LabelSelector: w.pick("", "", "a=b", "a in (b,c),!d,e", "a notin (b)", "a>1", "!!", "a=b,a!=c"),
	}
	r := authorizer.AttributesRecord{
		User: u, ResourceRequest: a.IsResource, Verb: a.Verb, APIGroup: a.APIGroup, APIVersion: a.APIVersion, Resource: a.Resource,
		Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name, Path: a.Path,
	}
	// As k8s.io/apiserver pkg/endpoints/filters/authorization.go.
	if selector, err := fields.ParseSelector(a.FieldSelector); err != nil {
		r.FieldSelectorParsingErr = err
	} else if a.FieldSelector != "" {
		r.FieldSelectorRequirements = selector.Requirements()
	}
	if selector, err := labels.Parse(a.LabelSelector); err != nil {
		r.LabelSelectorParsingErr = err
	} else if a.LabelSelector != "" {
		r.LabelSelectorRequirements, _ = selector.Requirements()
	}
	return a, r
}

func TestAccess(t *testing.T) {
	page := page(t)
	verdicts := map[authorizer.Decision]authz.Verdict{
		authorizer.DecisionAllow: authz.Allow, authorizer.DecisionDeny: authz.Deny, authorizer.DecisionNoOpinion: authz.NoOpinion,
	}
	for _, version := range []string{"v1", "v1beta1"} {
		onError := map[string]authorizer.Decision{"v1": authorizer.DecisionDeny, "v1beta1": authorizer.DecisionNoOpinion}[version]
		t.Run(version, func(t *testing.T) {
			s := newServer(t)
			config, client := s.clients(t)
			theirs, err := upstream.New(config, version, time.Minute, time.Minute, wait.Backoff{Duration: time.Millisecond, Steps: 5}, onError, nil, "it",
				metrics.NoopAuthorizerMetrics{}, cel.NewDefaultCompiler())
			if err != nil {
				t.Fatal(err)
			}
			ours, err := webhook.New(webhook.Config{Ask: client.Post, Version: version, Allowed: time.Minute, Denied: time.Minute, OnError: verdicts[onError]})
			if err != nil {
				t.Fatal(err)
			}
			w, seen, rows := newWriter(), map[authz.Verdict]int{}, map[string]int{}
			for n := range rounds() {
				answer := w.review("authorization.k8s.io", version, "SubjectAccessReview", w.accessStatus())
				s.will(answer)
				a, r := w.request(fmt.Sprintf("user-%d", n))
				decision, reason, theirErr := theirs.Authorize(t.Context(), r)
				got, ourErr := ours.Authorize(t.Context(), a)
				if asked := s.questions(); len(asked) != 2 || !same(asked[0], asked[1]) {
					t.Fatalf("asked\n%s", strings.Join(asked, "\n"))
				}
				seen[got.Verdict]++
				// Asked once more, both remember.
				again, _ := ours.Authorize(t.Context(), a)
				if asked := s.questions(); (ourErr == nil) != (len(asked) == 2) && got.Verdict == authz.Allow || again.Verdict != got.Verdict {
					t.Fatalf("asked again: %v after %v, %d questions", again, got, len(asked))
				}
				if row := explained(ourErr, answer.body, theirErr); row != "" {
					rows[row]++
					if got.Verdict == authz.Allow {
						t.Fatalf("allowed by %s", answer.body)
					}
					continue
				}
				if got.Verdict != verdicts[decision] || got.Reason() != reason || (ourErr == nil) != (theirErr == nil) {
					t.Fatalf("answer %d %s\nwe say %v %q %v\nthey say %v %q %v", answer.code, answer.body, got.Verdict, got.Reason(), ourErr, decision, reason, theirErr)
				}
			}
			for _, v := range verdicts {
				if seen[v] < rounds()/50 {
					t.Errorf("the verdict %d was seen %d times in %d", v, seen[v], rounds())
				}
			}
			for row := range rows {
				if !page.Tells(row) {
					t.Errorf("docs/kubernetes-divergences.md does not tell of %q", row)
				}
			}
			t.Logf("%d answers, verdicts %v, refused differently: %v", rounds(), seen, rows)
		})
	}
}
