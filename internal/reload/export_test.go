package reload

import (
	"context"

	"github.com/fsnotify/fsnotify"
)

// Follow is Run without a watcher of its own, for tests with a false clock.
func (f *File[T]) Follow(ctx context.Context, events <-chan fsnotify.Event) {
	f.follow(ctx, events, func() {})
}
