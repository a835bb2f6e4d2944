package durability_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/env"
)

// TestFullStore fills a store up to its quota, and deletes from it again.
func TestFullStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	const configMaps = "/api/v1/namespaces/default/configmaps"
	s := env.Start(t, "--quota-backend-bytes=16777216")
	c := connect(t, s.Kubeconfig, "")
	full := fill(t, c, configMaps)
	if full.code != http.StatusInsufficientStorage || !strings.Contains(full.message, "the store is full") {
		t.Errorf("a write to a full store is answered %v", full)
	}
	n := 0
	eventually(t, time.Minute, "a note in /readyz", func() error {
		// Writing goes on: what was left of the room may have been cleared.
		n++
		_ = c.do(t.Context(), "POST", configMaps, configMap(fmt.Sprintf("more-%d", n), strings.Repeat("x", 60_000)), nil)
		return noted(t, c)
	})
	c.must(t, "GET", configMaps+"/f-0-0", nil, nil)
	s.Restart()
	c = connect(t, s.Kubeconfig, "")
	c.must(t, "DELETE", configMaps, nil, nil)
	eventually(t, time.Minute, "a write after there is room", func() error {
		return c.do(t.Context(), "POST", configMaps, configMap("after", "x"), nil)
	})
}

// fill writes until the store refuses it, and returns the refusal.
func fill(t *testing.T, c *client, collection string) *refused {
	t.Helper()
	refusals := make(chan error, writers)
	for w := range writers {
		go func() {
			for n := 0; ; n++ {
				err := c.do(t.Context(), "POST", collection, configMap(fmt.Sprintf("f-%d-%d", w, n), strings.Repeat("x", 60_000)), nil)
				if err != nil || n == 1000 {
					refusals <- err
					return
				}
			}
		}()
	}
	var full *refused
	for range writers {
		if err := <-refusals; !errors.As(err, &full) {
			t.Fatalf("the store was not refused for being full, but: %v", err)
		}
	}
	return full
}

// noted returns an error unless the server says that it is full, and is ready
// all the same: what it has can still be read.
func noted(t *testing.T, c *client) error {
	t.Helper()
	response, err := c.http.Get(c.base + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), "[!]etcd-space is full at ") {
		return fmt.Errorf("%s %s %w", response.Status, text, err)
	}
	return nil
}
