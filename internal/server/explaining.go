package server

import (
	"crypto/rand"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/api/credential"
	"gatehouse.dev/gatehouse/internal/api/explanation"
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
		Book: s.book, Authenticator: s.credentials.rehearsed, Judge: s.revoked.Judge, Authorizer: s.authorizer,
		Attributes: door.AttributesOf, Registered: s.registeredAs,
	}, s.log)
}
