package controllertest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/tools/cache"
)

// Start runs informers and whatever else is given until the test has ended,
// and fails it if one of the others returns an error. In a synctest bubble
// it returns when all of them wait.
func Start(t *testing.T, informers []cache.SharedIndexInformer, runs ...func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, informer := range informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	for _, run := range runs {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("Run() = %v, want nil", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	synctest.Wait()
}

// Log returns a logger that writes to the log of the test.
func Log(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
