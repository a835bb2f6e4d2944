// Package asking gets explanations from a live server, with the credentials of a
// kubeconfig.
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
	"gatehouse.dev/gatehouse/internal/explain"
)

const (
	// maxAnswer bounds what is read, in bytes, and timeout how long it takes.
	maxAnswer = 16 << 20
	timeout   = 30 * time.Second
)

// An Asker asks the server of a kubeconfig.
type Asker struct {
	// Kubeconfig is a file, or "" for where kubectl looks, and Context one of
	// its contexts, or "" for the current one.
	Kubeconfig, Context string
}

// Find returns what is known of a request ID or an audit ID.
func (a *Asker) Find(ctx context.Context, name string) (*explain.Explanation, error) {
	return a.ask(ctx, http.MethodGet, explanation.Prefix+"/"+explain.Resource+"/"+url.PathEscape(name), nil)
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
	return a.ask(ctx, http.MethodPost, explanation.Prefix+"/"+explain.Resource, body)
}

func (a *Asker) ask(ctx context.Context, method, path string, body []byte) (*explain.Explanation, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout = timeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	defer client.CloseIdleConnections()
	if !strings.Contains(config.Host, "://") {
		config.Host = "https://" + config.Host
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(config.Host, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking for an explanation: %w", err)
	}
	if request.URL.Scheme != "https" {
		return nil, fmt.Errorf("asking for an explanation: %s is not https, and a credential may be sent", config.Host)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for an explanation: %w", err)
	}
	defer response.Body.Close()
	return read(response)
}

func read(response *http.Response) (*explain.Explanation, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the explanation: %w", err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		var status metav1.Status
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			return nil, fmt.Errorf("asking for an explanation: the server answers %s", response.Status)
		}
		return nil, fmt.Errorf("asking for an explanation: %s", status.Message)
	}
	var found explain.Explanation
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("reading the explanation: %w", err)
	}
	return &found, nil
}
