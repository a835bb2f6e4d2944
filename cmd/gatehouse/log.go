package main

import (
	"context"
	"io"
	"log/slog"

	"k8s.io/klog/v2"
)

// Levels of -v above which more is told, as Kubernetes counts them.
const (
	verboseLibraries = 1
	verboseDebug     = 4
)

// newLogger returns the logger of a server at the level that -v asks for, and
// makes the libraries that log with klog use it. What they call information is
// about their own insides; it is shown from -v=1 on.
func newLogger(w io.Writer, verbosity int) *slog.Logger {
	level := slog.LevelInfo
	if verbosity >= verboseDebug {
		level = slog.LevelDebug
	}
	handler := slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	library := slog.Handler(handler)
	if verbosity < verboseLibraries {
		library = atLeast{handler, slog.LevelWarn}
	}
	klog.SetSlogLogger(slog.New(library).With("component", "apiserver"))
	return slog.New(handler)
}

// atLeast is a handler without the records below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < h.level {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
