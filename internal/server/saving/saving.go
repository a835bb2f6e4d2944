// Package saving fetches a snapshot of the store from a live server into a
// file, with the credentials of a kubeconfig.
//
// The file appears under its name only once it has been read back and found
// whole, so a script that goes by the name never keeps a half. It is for its
// owner alone: everything in the store is in it, and Secrets are as safe there
// as the key is that they are encrypted with.
package saving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
	"gatehouse.dev/gatehouse/internal/server"
)

// maxStatus bounds what is read of a refusal, in bytes.
const maxStatus = 64 << 10

// A Save is one snapshot to fetch.
type Save struct {
	// Kubeconfig is a file, or "" for where kubectl looks, and Context one of
	// its contexts, or "" for the current one.
	Kubeconfig, Context string
	// File is where the snapshot goes. What is there is replaced.
	File string
	// Progress, which may be nil, is told how many bytes have come so far.
	Progress func(bytes int64)
}

// Run fetches the snapshot, checks it, and returns what it holds.
func (s *Save) Run(ctx context.Context) (*snapshot.File, error) {
	client, endpoint, err := s.client()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for a snapshot: %w", err)
	}
	request.Header.Set("Accept", "application/octet-stream, application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for a snapshot: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refusal(response)
	}
	return s.keep(response.Body)
}

func (s *Save) client() (*http.Client, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = s.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: s.Context}).ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.Timeout = 0 // a large store takes its time
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	if !strings.Contains(config.Host, "://") {
		config.Host = "https://" + config.Host
	}
	endpoint, err := url.JoinPath(config.Host, server.SnapshotPath)
	if err != nil {
		return nil, "", fmt.Errorf("reading kubeconfig: %w", err)
	}
	return client, endpoint, nil
}

// refusal returns what the server has said.
func refusal(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	var status metav1.Status
	if err != nil || json.Unmarshal(text, &status) != nil || status.Message == "" {
		return fmt.Errorf("asking for a snapshot: the server answers %s", response.Status)
	}
	return fmt.Errorf("asking for a snapshot: %s", status.Message)
}

// keep writes the file, reads it back, and only then gives it its name.
func (s *Save) keep(body io.Reader) (*snapshot.File, error) {
	dir := filepath.Dir(s.File)
	pending, err := renameio.NewPendingFile(s.File, renameio.WithTempDir(dir),
		renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return nil, fmt.Errorf("writing snapshot: %w", err)
	}
	defer pending.Cleanup()
	if _, err := io.Copy(&counting{pending, s.Progress, 0}, body); err != nil {
		return nil, fmt.Errorf("receiving snapshot: %w", err)
	}
	file, err := snapshot.Read(pending.Name())
	if err != nil {
		return nil, fmt.Errorf("what was received is no whole snapshot: %w", err)
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return nil, fmt.Errorf("writing snapshot: %w", err)
	}
	file.Path = s.File
	return file, sync(dir)
}

// sync makes the name of a file last.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	return nil
}

// counting tells how much was written.
type counting struct {
	to   io.Writer
	tell func(int64)
	n    int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	if c.tell != nil {
		c.tell(c.n)
	}
	return n, err
}
