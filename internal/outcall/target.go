package outcall

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	// maxIdle is how many connections are kept for the next calls, as client-go.
	maxIdle = 25
	// maxHeader is the longest header of an answer, in bytes.
	maxHeader = 64 << 10
	// dialTimeout is for a connection, and then for its handshake.
	dialTimeout = 10 * time.Second
)

// A Target is a service and how we show it who we are. It does not change.
type Target struct {
	url       string
	client    *http.Client
	authorize func(http.Header)
}

// ReadTarget returns what a kubeconfig describes: the cluster is the service, the
// user is we. Text is that of the file at path; read reads the files it names,
// whose relative paths start from its folder.
func ReadTarget(path string, text []byte, read func(path string) ([]byte, error)) (*Target, error) {
	config, err := clientcmd.Load(text)
	if err != nil {
		return nil, fmt.Errorf("it is no kubeconfig: %w", err)
	}
	cluster, user, err := current(config)
	if err != nil {
		return nil, err
	}
	cluster.LocationOfOrigin, user.LocationOfOrigin = path, path
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, err
	}
	t := &Target{}
	if t.url, err = address(cluster.Server); err != nil {
		return nil, err
	}
	connections, err := transport(cluster, user, read)
	if err != nil {
		return nil, err
	}
	if t.authorize, err = authorization(user, read); err != nil {
		return nil, err
	}
	t.client = &http.Client{
		Transport: connections,
		// Elsewhere, somebody else would learn the token, and answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

// URL returns the address of the service. It holds no secret.
func (t *Target) URL() string { return t.url }

// current returns the cluster and the user of the current context.
func current(config *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	name := config.CurrentContext
	if name == "" {
		return nil, nil, errors.New("it has no current-context: name the context of the service")
	}
	context := config.Contexts[name]
	if context == nil {
		return nil, nil, fmt.Errorf("its current-context is %q, which is not among its contexts", name)
	}
	cluster := config.Clusters[context.Cluster]
	if cluster == nil {
		return nil, nil, fmt.Errorf("context %q names the cluster %q, which is not among its clusters", name, context.Cluster)
	}
	user := config.AuthInfos[context.AuthInfo]
	if user == nil {
		if context.AuthInfo != "" {
			return nil, nil, fmt.Errorf("context %q names the user %q, which is not among its users", name, context.AuthInfo)
		}
		user = api.NewAuthInfo() // the service does not ask who we are
		config.AuthInfos[""] = user
	}
	return cluster, user, nil
}

// address returns the URL to ask. As in Kubernetes it is used as it is, but for a
// slash at its end.
func address(server string) (string, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("its server is no URL: write https://HOST/PATH")
	case u.User != nil:
		return "", errors.New("its server holds a user name or a password: give them in users")
	case u.Scheme != "https":
		return "", fmt.Errorf("its server begins with %s: and not with https: what is asked could be read, and anybody could answer", u.Scheme)
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("its server has a query or a fragment, which is never sent: remove it")
	}
	u.Path = path.Join("/", u.Path)
	return u.String(), nil
}

// transport returns what makes connections to the service.
func transport(cluster *api.Cluster, user *api.AuthInfo, read func(string) ([]byte, error)) (*http.Transport, error) {
	if cluster.InsecureSkipTLSVerify {
		return nil, errors.New("insecure-skip-tls-verify lets anybody answer: give the certificate-authority instead")
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cluster.TLSServerName}
	authority, err := content(cluster.CertificateAuthorityData, cluster.CertificateAuthority, read)
	if err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	if authority != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(authority) {
			return nil, errors.New("certificate-authority holds no certificate")
		}
	}
	certificate, err := content(user.ClientCertificateData, user.ClientCertificate, read)
	if err != nil {
		return nil, fmt.Errorf("client-certificate: %w", err)
	}
	key, err := content(user.ClientKeyData, user.ClientKey, read)
	if err != nil {
		return nil, fmt.Errorf("client-key: %w", err)
	}
	if (certificate == nil) != (key == nil) {
		return nil, errors.New("client-certificate and client-key belong together: give both, or neither")
	}
	if certificate != nil {
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("client-certificate and client-key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	proxy := http.ProxyFromEnvironment
	if cluster.ProxyURL != "" {
		u, err := url.Parse(cluster.ProxyURL)
		if err != nil || u.Host == "" {
			return nil, errors.New("its proxy-url is no URL")
		}
		proxy = http.ProxyURL(u)
	}
	return &http.Transport{
		Proxy: proxy, TLSClientConfig: conf, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: 90 * time.Second,
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle,
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		// A connection that has died in silence is found out, as by client-go.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}, nil
}

// authorization returns what adds to a request who we are, besides a certificate.
func authorization(user *api.AuthInfo, read func(string) ([]byte, error)) (func(http.Header), error) {
	switch {
	case user.Exec != nil:
		return nil, errors.New("exec would run a program in the server: give a client-certificate, or a tokenFile that the program writes")
	case user.AuthProvider != nil:
		return nil, errors.New("auth-provider is not supported any more: give a client-certificate or a tokenFile")
	case user.Impersonate != "" || user.ImpersonateUID != "" || len(user.ImpersonateGroups) > 0 || len(user.ImpersonateUserExtra) > 0:
		return nil, errors.New("the server acts as itself: remove the as- settings")
	}
	token := user.Token
	if user.TokenFile != "" {
		text, err := read(user.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("tokenFile: %w", err)
		}
		if token = string(bytes.TrimSpace(text)); token == "" {
			return nil, fmt.Errorf("tokenFile %s is empty", user.TokenFile)
		}
	}
	basic := user.Username != "" || user.Password != ""
	switch {
	case basic && token != "":
		return nil, errors.New("a user name or a token may be given, but not both")
	case basic:
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user.Username, user.Password)
		value := r.Header.Get("Authorization")
		return func(h http.Header) { h.Set("Authorization", value) }, nil
	case token != "":
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return nil, errors.New("the token has white space or a control character in it")
		}
		return func(h http.Header) { h.Set("Authorization", "Bearer "+token) }, nil
	}
	return func(http.Header) {}, nil
}

// content returns data, or what is in the file, or nil if neither is given.
func content(data []byte, file string, read func(string) ([]byte, error)) ([]byte, error) {
	switch {
	case len(data) > 0:
		return data, nil
	case file == "":
		return nil, nil
	}
	text, err := read(file)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	return text, err
}
