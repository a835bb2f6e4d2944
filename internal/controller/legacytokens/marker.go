package legacytokens

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/internal/controller"
)

// waiting is how many uses may wait to be written down. One that finds no room
// is told again with the next use.
const waiting = 256

// A use is a day on which the token in a Secret was used.
type use struct{ namespace, secret, day string }

// A Marker writes the day of the last use into token Secrets. Nobody who uses a
// token waits for it. Make one with [NewMarker].
type Marker struct {
	store controller.Objects[*corev1.Secret]
	log   *slog.Logger
	uses  chan use
}

// NewMarker returns a marker of the Secrets in store.
func NewMarker(store controller.Objects[*corev1.Secret], log *slog.Logger) *Marker {
	return &Marker{store: store, log: log, uses: make(chan use, waiting)}
}

// Used says that a token was used on a day that its Secret does not have yet. It
// does not wait.
func (m *Marker) Used(_ context.Context, namespace, secret, day string) {
	select {
	case m.uses <- use{namespace, secret, day}:
	default:
	}
}

// Run writes uses down until ctx is done. A use that cannot be written is told
// again by whoever uses the token next.
func (m *Marker) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-m.uses:
			if err := m.mark(ctx, u); err != nil && ctx.Err() == nil {
				m.log.WarnContext(ctx, "the use of a token was not written down", "namespace", u.namespace, "secret", u.secret, "err", err)
			}
		}
	}
}

// mark labels a Secret, unless its label says as much already. Clocks of
// processes differ, so a later day is as good.
func (m *Marker) mark(ctx context.Context, u use) error {
	secret, err := m.store.Get(ctx, u.namespace, u.secret)
	if err != nil {
		return controller.Ignore(err, apierrors.IsNotFound)
	}
	if last := secret.Labels[LastUsed]; isDay(last) && last >= u.day || secret.DeletionTimestamp != nil {
		return nil
	}
	metav1.SetMetaDataLabel(&secret.ObjectMeta, LastUsed, u.day)
	_, err = m.store.Update(ctx, secret)
	// Who wrote it meanwhile may have been another process with the same news.
	return controller.Ignore(err, apierrors.IsNotFound, apierrors.IsConflict)
}
