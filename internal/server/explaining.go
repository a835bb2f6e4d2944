package server

import (
	"crypto/rand"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/api/explanation"
	"gatehouse.dev/gatehouse/internal/api/review"
	"gatehouse.dev/gatehouse/internal/audit"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/etcd/expiring"
	"gatehouse.dev/gatehouse/internal/explain"
)

const (
	// explainPrefix is where refusals are kept, beside the objects.
	explainPrefix = "/gatehouse/explain/"
	// explainFor is for how long: an operator who is called can still ask.
	explainFor = time.Hour
)

// openBook makes the book of refusals. The name of the process tells apart those
// that share a machine, or a name.
func (s *Server) openBook() {
	host, err := os.Hostname()
	if err != nil {
		host = "gatehouse"
	}
	name := host + "_" + strings.ToLower(rand.Text()[:8])
	s.book = explain.NewBook(name, expiring.New(s.client, explainPrefix, explainFor), s.log)
}

// besideResources are what is served beside the resources of the API, in our own
// group.
func besideResources() metav1.APIResourceList {
	all := explanation.Resources()
	all.APIResources = append(all.APIResources, credential.Resource())
	return all
}

// explanations serves why requests were refused.
func (s *Server) explanations() *explanation.Handler {
	return explanation.New(&explain.Explainer{
		Book: s.book, Authenticator: s.credentials.rehearsed, Judge: s.revoked.Judge,
		Authorizer: s.authorizer, Reviewed: s.revoked.Access(s.authorizer),
		Impersonation: impersonation.New(s.authorizer, rehearsed{}),
		Attributes:    door.AttributesOf, Registered: s.registeredAs,
	}, s.log)
}

// rehearsed counts nothing: it is for what is only asked about.
type rehearsed struct{}

func (rehearsed) Impersonated(string, bool, time.Duration)         {}
func (rehearsed) ImpersonationChecked(string, bool, time.Duration) {}

// A reviewJournal keeps why reviews said no, and tells who asked, and the audit
// event, by which ID that is found.
type reviewJournal struct{ book *explain.Book }

func (j reviewJournal) NotAuthenticated(q review.Question, audiences []string, whose *identity.Identity, ladder func() []authn.Rung) string {
	about := j.about(q)
	about.Audiences = audiences
	return j.told(q, j.book.NotAuthenticated(door.AuditIDOf(q.W), q.R, q.Code, about, whose, ladder))
}

func (j reviewJournal) NotAllowed(q review.Question, a *authz.Attributes, reason string, err error) string {
	return j.told(q, j.book.NotAllowed(door.AuditIDOf(q.W), q.R, j.about(q), a, reason, err))
}

func (j reviewJournal) about(q review.Question) *explain.Review {
	about := &explain.Review{Kind: q.Kind}
	if asker, ok := request.UserFrom(q.R.Context()); ok {
		about.Asker = asker.GetName()
	}
	return about
}

func (j reviewJournal) told(q review.Question, id string) string {
	if id != "" {
		q.W.Header().Set(door.RequestIDHeader, id)
		kubeaudit.AddAuditAnnotation(q.R.Context(), audit.RequestIDAnnotation, id)
	}
	return id
}
