package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/tlsutil"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	dialTimeout      = 10 * time.Second
	keepAlive        = 30 * time.Second
	keepAliveTimeout = 10 * time.Second
	probeTimeout     = 5 * time.Second
)

// External says how to reach an etcd cluster. The fields are kube-apiserver's
// flags --etcd-servers, --etcd-cafile, --etcd-certfile and --etcd-keyfile.
type External struct {
	Servers  []string
	CAFile   string
	CertFile string
	KeyFile  string
}

// Connect returns a client of the cluster. It refuses endpoints of different
// clusters, which would otherwise look like one with half of the objects
// missing. An endpoint that does not answer is left to the client to retry, as
// long as one of them does.
func Connect(ctx context.Context, ext External, log *slog.Logger) (*clientv3.Client, error) {
	tlsConfig, err := ext.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            ext.Servers,
		TLS:                  tlsConfig,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zapLogger(log),
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", err)
	}
	if err := oneCluster(ctx, client, ext.Servers); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// Check returns what is wrong with the files of authorities, and with those of
// the client certificate, as [Connect] does. It connects to nothing.
func (ext External) Check() (authorities, certificate error) {
	if ext.CAFile != "" {
		authorities = checkAuthorities(ext.CAFile)
	}
	if ext.CertFile != "" {
		if _, err := tlsutil.NewCert(ext.CertFile, ext.KeyFile, nil); err != nil {
			certificate = fmt.Errorf("reading %s and %s: %w", ext.CertFile, ext.KeyFile, err)
		}
	}
	return authorities, certificate
}

// checkAuthorities refuses a file without a certificate: the library takes it
// for one without a choice.
func checkAuthorities(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("%s: no certificate in PEM form found", file)
	}
	return nil
}

func (ext External) tls() (*tls.Config, error) {
	if err := errors.Join(ext.Check()); err != nil {
		return nil, fmt.Errorf("reading --etcd-cafile, --etcd-certfile or --etcd-keyfile: %w", err)
	}
	secure := ext.CAFile != "" || ext.CertFile != ""
	for _, s := range ext.Servers {
		secure = secure || strings.HasPrefix(s, "https://")
	}
	if !secure {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: ext.CAFile, CertFile: ext.CertFile, KeyFile: ext.KeyFile}
	cfg, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading --etcd-cafile, --etcd-certfile or --etcd-keyfile: %w", err)
	}
	return cfg, nil
}

// oneCluster compares the cluster IDs that the endpoints report.
func oneCluster(ctx context.Context, client *clientv3.Client, servers []string) error {
	type answer struct {
		server string
		id     uint64
		err    error
	}
	answers := make(chan answer, len(servers))
	for _, s := range servers {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			status, err := client.Status(ctx, s)
			a := answer{server: s, err: err}
			if err == nil {
				a.id = status.Header.ClusterId
			}
			answers <- a
		}()
	}
	var first answer
	var failed error
	for range servers {
		switch a := <-answers; {
		case a.err != nil:
			failed = fmt.Errorf("asking etcd %s: %w", a.server, a.err)
		case first.server == "":
			first = a
		case a.id != first.id:
			return fmt.Errorf("etcd endpoints %s and %s belong to different clusters (%x and %x): give --etcd-servers the members of one",
				first.server, a.server, first.id, a.id)
		}
	}
	if first.server == "" {
		return failed
	}
	return nil
}
