package holding

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	// maxAnswer bounds what is read, in bytes, and timeout how long it takes.
	maxAnswer = 4 << 20
	timeout   = 30 * time.Second
)

// A Way is how the server is reached: by a kubeconfig, or "" for where kubectl
// looks, and one of its contexts, or "" for the current one.
type Way struct{ Kubeconfig, Context string }

// Requests returns the requests of the server, as the user of the kubeconfig.
// With a pair, it is whom the pair stands for instead.
func (w Way) Requests(pair *tls.Certificate) (Requests, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = w.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: w.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	if pair != nil {
		config = rest.AnonymousClientConfig(config)
		if config.CertData, config.KeyData, err = encode(pair); err != nil {
			return nil, err
		}
	}
	config.Timeout = timeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	host := config.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	if !strings.HasPrefix(host, "https://") {
		return nil, fmt.Errorf("%s is not https, and a credential would be sent", host)
	}
	return &server{client, strings.TrimSuffix(host, "/") + path}, nil
}

func encode(pair *tls.Certificate) (certs, key []byte, err error) {
	for _, der := range pair.Certificate {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	return certs, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// A server is the resource at its URL.
type server struct {
	client *http.Client
	url    string
}

func (s *server) Create(ctx context.Context, r *certificatesv1.CertificateSigningRequest) (*certificatesv1.CertificateSigningRequest, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return s.do(ctx, http.MethodPost, s.url, body)
}

func (s *server) Get(ctx context.Context, name string) (*certificatesv1.CertificateSigningRequest, error) {
	return s.do(ctx, http.MethodGet, s.url+"/"+url.PathEscape(name), nil)
}

func (s *server) do(ctx context.Context, method, url string, body []byte) (*certificatesv1.CertificateSigningRequest, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		status := metav1.Status{Code: int32(response.StatusCode), Message: "the server answers " + response.Status}
		_ = json.Unmarshal(text, &status) // what is no Status says nothing more
		return nil, &apierrors.StatusError{ErrStatus: status}
	}
	var object certificatesv1.CertificateSigningRequest
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return &object, nil
}
