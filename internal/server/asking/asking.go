// Package asking gets explanations, and what was issued, from a live server, and
// has it rotate its signing keys, with the credentials of a kubeconfig.
package asking

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/api/explanation"
	"gatehouse.dev/gatehouse/internal/door"
	"gatehouse.dev/gatehouse/internal/explain"
)

const (
	// maxAnswer bounds what is read, in bytes, and timeout how long it takes.
	maxAnswer = 16 << 20
	timeout   = 30 * time.Second
	// userAgent is in audit events, and names who has written an object.
	userAgent = "gatehouse"
)

// An Asker asks the server of a kubeconfig.
type Asker struct {
	// Kubeconfig is a file, or "" for where kubectl looks, and Context one of
	// its contexts, or "" for the current one.
	Kubeconfig, Context string
}

// Find returns what is known of a request ID or an audit ID.
func (a *Asker) Find(ctx context.Context, name string) (*explain.Explanation, error) {
	return a.explain(ctx, http.MethodGet, explanation.Prefix+"/"+explain.Resource+"/"+url.PathEscape(name), nil)
}

// Try returns what would be said of a credential. It is sent to the server, and
// to nobody else.
func (a *Asker) Try(ctx context.Context, spec *explain.Spec) (*explain.Explanation, error) {
	body, err := json.Marshal(explain.Explanation{
		TypeMeta: metav1.TypeMeta{Kind: explain.Kind, APIVersion: explain.Group + "/" + explain.Version}, Spec: spec,
	})
	if err != nil {
		return nil, fmt.Errorf("asking for an explanation: %w", err)
	}
	return a.explain(ctx, http.MethodPost, explanation.Prefix+"/"+explain.Resource, body)
}

func (a *Asker) explain(ctx context.Context, method, path string, body []byte) (*explain.Explanation, error) {
	var found explain.Explanation
	if err := a.ask(ctx, method, path, body, &found); err != nil {
		return nil, fmt.Errorf("asking for an explanation: %w", err)
	}
	return &found, nil
}

// A Refusal is an answer of the server that is no good.
type Refusal struct {
	Code    int
	Message string
	// RequestID is by what gatehouse explain finds out why; "" if the server has
	// given none.
	RequestID string
	// Fields are those of the object that was sent that the server names.
	Fields []string
}

func (r *Refusal) Error() string { return r.Message }

// A server is one that is asked.
type server struct {
	client *http.Client
	host   string
}

// reach returns the server of the kubeconfig.
func (a *Asker) reach() (*server, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout, config.UserAgent = timeout, userAgent
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	if !strings.Contains(config.Host, "://") {
		config.Host = "https://" + config.Host
	}
	if !strings.HasPrefix(config.Host, "https://") {
		return nil, fmt.Errorf("%s is not https, and a credential may be sent", config.Host)
	}
	return &server{client, strings.TrimSuffix(config.Host, "/")}, nil
}

// ask asks once.
func (a *Asker) ask(ctx context.Context, method, path string, body []byte, into any) error {
	s, err := a.reach()
	if err != nil {
		return err
	}
	defer s.client.CloseIdleConnections()
	return s.ask(ctx, method, path, body, into)
}

func (s *server) ask(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, s.host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return read(response, into)
}

func read(response *http.Response, into any) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		refusal := &Refusal{Code: response.StatusCode, RequestID: response.Header.Get(door.RequestIDHeader)}
		var status metav1.Status
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			status.Message = "the server answers " + response.Status
		}
		refusal.Message = status.Message
		if status.Details != nil {
			for _, cause := range status.Details.Causes {
				refusal.Fields = append(refusal.Fields, cause.Field)
			}
		}
		return refusal
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}
