package foreign_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"

	"gatehouse.dev/gatehouse/test/env"
)

// issuer vouches for the tokens. Nobody goes there.
const issuer = "https://gatehouse.example.org"

// many returns how much of each is issued and judged.
func many() int {
	if os.Getenv("GATEHOUSE_NIGHTLY") == "1" {
		return 1000
	}
	return 120
}

// A world is a server and its administrator.
type world struct {
	*env.Server
	client *http.Client
}

func start(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server and other programs")
	}
	// The limits on requests in flight are not what is looked at.
	s := env.Start(t, "--service-account-issuer="+issuer)
	return &world{s, s.Client()}
}

// do makes a request. A body that is a string is sent as it is, another one as
// JSON, and the answer is decoded into out unless that is nil.
func (w *world) do(method, path string, body, out any) error {
	var sent bytes.Buffer
	switch b := body.(type) {
	case nil:
	case string:
		sent.WriteString(b)
	default:
		if err := json.NewEncoder(&sent).Encode(b); err != nil {
			return err
		}
	}
	r, err := http.NewRequest(method, w.Address+path, &sent)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (w *world) must(t *testing.T, method, path string, body, out any) {
	t.Helper()
	if err := w.do(method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

// each calls f with every number below n, some at a time.
func (w *world) each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var work errgroup.Group
	work.SetLimit(16)
	for i := range n {
		work.Go(func() error { return f(i) })
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
}
