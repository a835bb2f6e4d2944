package siege

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// patience is after how long a caller counts a request as failed.
const patience = 10 * time.Second

// caller is the honest one. It sends requests at a steady rate, whether or not
// those before were answered: of ten, two read over a new connection and one
// writes over one; one writes and six read over kept ones, of HTTP/1.1 and of
// HTTP/2 by turns. What its transport repeats by itself, as every client's
// does, is no failure; anything but the right answer in time is.
func caller(ctx context.Context, f *Force, ready func()) {
	ready()
	kept := []*http.Transport{f.transport(0, false), f.transport(0, true)}
	tick := time.NewTicker(time.Second / time.Duration(f.Count))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case due := <-tick.C:
			all.Go(func() {
				t, kind := kept[n/10%2], "kept"
				if n%10 < 3 {
					t, kind = f.transport(0, n/10%2 == 1), "new"
					defer t.CloseIdleConnections()
				}
				f.call(ctx, t, kind, n, due)
			})
		}
	}
}

func (f *Force) call(ctx context.Context, t *http.Transport, kind string, n int, due time.Time) {
	verb, path, body, want := http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/target", "", http.StatusOK
	if write := n%10 == 2 || n%10 == 3; write {
		verb, path, want = http.MethodPost, "/api/v1/namespaces/default/configmaps", http.StatusCreated
		body = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"siege-"},"data":{"a":"b"}}`
	}
	// A request that was begun may end after the force was told to.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(within, verb, "https://"+f.Address+path, strings.NewReader(body))
	if err != nil {
		f.fail(context.WithoutCancel(ctx), err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+f.Token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	f.made.Add(1)
	answer, err := t.RoundTrip(r)
	if err == nil {
		defer answer.Body.Close()
		f.status(answer.StatusCode)
		var text []byte
		text, err = io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != want {
			err = fmt.Errorf("answer %d: %.200s", answer.StatusCode, text)
		}
	}
	took := time.Since(due)
	f.time(kind, took)
	if err != nil {
		f.fail(context.WithoutCancel(ctx), fmt.Errorf("%s over a %s connection after %v: %w", verb, kind, took.Round(time.Millisecond), err))
	}
}
