//go:build linux

// Package runner is `gatehouse run`: it puts the place of a process in the API and
// the process itself together.
//
// The one idea is the order. The Pod is there before the process begins, the first
// token before its first instruction, and the Pod goes as soon as it has ended.
//
// It refuses a server that a program in a cluster could not find or verify by the
// two variables and the file that it is given: one with a path, without TLS, with
// another name in its certificate, or behind a proxy.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatehouse.dev/gatehouse/internal/workload"
	"gatehouse.dev/gatehouse/internal/workload/process"
	"gatehouse.dev/gatehouse/internal/workload/session"
)

const (
	// MountPoint is where every client of Kubernetes looks.
	MountPoint = "/var/run/secrets/kubernetes.io/serviceaccount"
	// patience is how long a process that is told to end may take: a Pod's.
	patience = 30 * time.Second
	// closing is how long deleting the Pod may take.
	closing = 15 * time.Second
)

// A Run is one process and its place.
type Run struct {
	// Kubeconfig is a file, or "" for where kubectl looks, and Context one of its
	// contexts, or "" for the current one.
	Kubeconfig, Context string
	Process             workload.Process
	// Interval is how often there is a new token; 0 is 80 % of its life.
	Interval time.Duration
	// TokenDir is a folder for the files; "" is a mount namespace.
	TokenDir string
	// Command is what to run. Its environment gets what leads to the server.
	Command process.Command
	// GoOn lets the process run on when its token has ended.
	GoOn bool
	Log  *slog.Logger
}

// Run runs the process, and returns its exit code. The context ends what is
// before it begins; after that its signals are the process's.
func (r *Run) Run(ctx context.Context) (int, error) {
	way, err := r.find()
	if err != nil {
		return 0, err
	}
	if r.Process.Namespace == "" {
		r.Process.Namespace = way.namespace
	}
	if err := process.KeepNothing(); err != nil {
		return 0, err
	}
	s, err := session.Open(ctx, session.Config{API: way.config, Process: r.Process, Interval: r.Interval, Log: r.Log})
	if err != nil {
		return 0, err
	}
	code, err := r.inside(ctx, s, way)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	if lost := s.Close(end); lost != nil {
		r.Log.Warn("the Pod is still there: the server deletes it, and with it ends the token, 30 s after its lease was renewed last",
			"pod", s.Name(), "err", lost)
	}
	return code, err
}

// inside runs the process while its place is kept.
func (r *Run) inside(ctx context.Context, s *session.Session, way *way) (int, error) {
	files, err := r.files(way)
	if err != nil {
		return 0, err
	}
	p, err := process.Prepare(r.command(way))
	if err != nil {
		return 0, errors.Join(err, files.close())
	}
	files.mounted(p.Files)
	defer files.close()
	begin := func() error {
		if err := files.write(s.Token()); err != nil {
			return err
		}
		if err := process.Seal(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("before the process began: %w", err)
		}
		return p.Begin()
	}
	if err := begin(); err != nil {
		p.Abandon()
		return 0, err
	}
	return r.keep(ctx, s, p, files), nil
}

// keep keeps the place of a process that runs, until it ends, and with it all that
// it has started if its place was lost.
func (r *Run) keep(ctx context.Context, s *session.Session, p *process.Process, files *files) int {
	// The signals that end ctx are the process's from here on.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var work, ending sync.WaitGroup
	work.Go(func() {
		once := sync.OnceFunc(func() { ending.Go(func() { r.end(p) }) })
		s.Keep(ctx, files.write, func(why error) { r.lost(s.Name(), why, once) })
	})
	exit := p.Wait()
	cancel()
	work.Wait()
	ending.Wait()
	return exit.Code()
}

// lost has the process ended, which is nobody any more, unless it shall go on.
func (r *Run) lost(pod string, why error, end func()) {
	if r.GoOn {
		r.Log.Error("the process has no good token any more and runs on, as --on-lost says", "pod", pod, "err", why)
		return
	}
	r.Log.Error("the process has no good token any more and is ended, as --on-lost says", "pod", pod, "err", why)
	end()
}

// end ends the process and what it has started.
func (r *Run) end(p *process.Process) {
	if err := p.End(patience); err != nil {
		r.Log.Error("not all of the process has ended: end it by hand", "err", err)
	}
}

// command adds to the command what is told by the way to the server.
func (r *Run) command(w *way) process.Command {
	c := r.Command
	c.Env = append(c.Env, "KUBERNETES_SERVICE_HOST="+w.host, "KUBERNETES_SERVICE_PORT="+w.port)
	if r.TokenDir == "" {
		c.Mount = MountPoint
		for _, name := range w.hidden {
			// Where this process is itself in a Pod, that is what is mounted over.
			if !strings.HasPrefix(name, MountPoint+"/") {
				c.Hidden = append(c.Hidden, name)
			}
		}
	} else {
		c.Env = append(c.Env, "KUBECONFIG="+filepath.Join(r.TokenDir, kubeconfigName))
	}
	return c
}
