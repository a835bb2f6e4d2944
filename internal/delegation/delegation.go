// Package delegation writes down how an API server of somebody else asks this
// one: whose a token is, by a TokenReview, and what a user may do, by a
// SubjectAccessReview.
//
// The one idea: kube-apiserver posts a review to the very URL that its
// kubeconfig names, with nothing added, so there is one kubeconfig for each of
// the two questions, and the path is in it. The rest is flags, the file that
// takes the place of some of them, and what this server does not decide even
// then.
//
// It refuses cache times that an API server would not take, and paths that mean
// something else on another machine.
package delegation

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/gatehouse/internal/kubeconfig"
	"gatehouse.dev/gatehouse/internal/secret"
)

// The names of the files.
const (
	TokenReview   = "token-review.kubeconfig"
	AccessReview  = "access-review.kubeconfig"
	Authorization = "authorization.yaml"
)

// webhookTimeout is how long the API server waits for what its callers may do.
// It is short because each of their requests waits with it.
const webhookTimeout = 3 * time.Second

// A Client is an API server that asks.
type Client struct {
	// Name is the user in its certificate.
	Name string
	// Server is the URL of this server, without the paths of the reviews.
	Server string
	// Authority has the certificates to trust, in PEM form.
	Authority []byte
	// Certificate and Key are those it shows, in PEM form, and Until is when
	// they end.
	Certificate []byte
	Key         secret.Bytes
	Until       time.Time
	// Directory is where the API server finds the files.
	Directory string
	// CacheTTL is how long it believes an answer.
	CacheTTL time.Duration
}

// A File is one that the API server reads.
type File struct {
	Name string
	Data secret.Bytes
}

// Check refuses what has nothing to do with the certificate, so that none is
// issued in vain.
func (c *Client) Check() error {
	switch {
	case c.CacheTTL < time.Second:
		return fmt.Errorf("an answer cannot be believed for %v: choose 1s or more", c.CacheTTL)
	case !path.IsAbs(c.Directory) || strings.ContainsFunc(c.Directory, strange):
		return fmt.Errorf("the API server cannot find files in %q: name the directory from the root on, without blanks, quotes, commas and $", c.Directory)
	}
	if _, err := c.review(""); err != nil {
		return err
	}
	return nil
}

// strange tells the characters that a shell, or the file with the flags, reads
// as something else.
func strange(r rune) bool { return !unicode.IsGraphic(r) || strings.ContainsRune(" \"'`\\$,#", r) }

// review returns the URL that reviews of one kind are posted to.
func (c *Client) review(at string) (string, error) {
	server, err := url.Parse(c.Server)
	if err != nil || server.Scheme != "https" || server.Host == "" {
		return "", errors.New("the server is no URL like https://host:port")
	}
	return server.JoinPath(at).String(), nil
}

// Files returns the two kubeconfigs, and what takes the place of the flags of
// authorization in a newer API server.
func (c *Client) Files() ([]File, error) {
	var files []File
	for _, f := range []struct{ name, path string }{
		{TokenReview, "/apis/authentication.k8s.io/v1/tokenreviews"},
		{AccessReview, "/apis/authorization.k8s.io/v1/subjectaccessreviews"},
	} {
		server, err := c.review(f.path)
		if err != nil {
			return nil, err
		}
		data, err := kubeconfig.Config{
			Context: "gatehouse", Cluster: "gatehouse", User: c.Name,
			Server: server, Authority: c.Authority, Certificate: c.Certificate, Key: c.Key,
		}.Encode()
		if err != nil {
			return nil, err
		}
		files = append(files, File{f.name, secret.New(data)})
	}
	data, err := yaml.Marshal(c.authorization())
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration of authorization: %w", err)
	}
	return append(files, File{Authorization, secret.New(data)}), nil
}

// authorization has this server asked before the roles of the API server, so
// that a denial comes before what those allow, and after Node, so that kubelets
// do not depend on it.
func (c *Client) authorization() *apiserverv1.AuthorizationConfiguration {
	file, ttl := c.in(AccessReview), metav1.Duration{Duration: c.CacheTTL}
	return &apiserverv1.AuthorizationConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: apiserverv1.SchemeGroupVersion.String(), Kind: "AuthorizationConfiguration"},
		Authorizers: []apiserverv1.AuthorizerConfiguration{
			{Type: "Node", Name: "node"},
			{Type: "Webhook", Name: "gatehouse", Webhook: &apiserverv1.WebhookConfiguration{
				AuthorizedTTL: ttl, UnauthorizedTTL: ttl, Timeout: metav1.Duration{Duration: webhookTimeout},
				SubjectAccessReviewVersion: "v1", MatchConditionSubjectAccessReviewVersion: "v1",
				MatchConditions: []apiserverv1.WebhookMatchCondition{}, FailurePolicy: apiserverv1.FailurePolicyNoOpinion,
				ConnectionInfo: apiserverv1.WebhookConnectionInfo{Type: apiserverv1.AuthorizationWebhookConnectionInfoTypeKubeConfigFile, KubeConfigFile: &file},
			}},
			{Type: "RBAC", Name: "rbac"},
		},
	}
}

func (c *Client) in(name string) string { return path.Join(c.Directory, name) }
