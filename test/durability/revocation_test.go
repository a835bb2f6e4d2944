package durability_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/api/v1alpha1"
)

const (
	// elsewhere is how long a Revocation may take to be in force on another
	// process, and to end what is open. The promise is a second, and a test by
	// night holds to it; by day the machine may be busy.
	elsewhere = 15 * time.Second
	promised  = time.Second
	// askEvery is how often a process that is cut off is asked.
	askEvery = 50 * time.Millisecond
)

const (
	whoamiPath = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	watchPath  = "/api/v1/namespaces/default/configmaps?watch=true"
)

func (c *client) letIn(ctx context.Context) error {
	return c.do(ctx, "POST", whoamiPath, map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, nil)
}

// TestRevocation revokes each kind of thing on one of four processes, while
// somebody who has it asks and watches at all of them, and while the last one is
// cut off from the store. By night it is alone, and measures.
func TestRevocation(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	night := os.Getenv("GATEHOUSE_NIGHTLY") != ""
	rounds, cuts := 3, 1
	if night {
		rounds, cuts = 100, 100
	} else {
		t.Parallel()
	}
	s := newSchool(t, rounds)
	for round := range rounds {
		if s.round(round, round < cuts); t.Failed() {
			break
		}
	}
	s.took.report(t)
	if night {
		s.took.hold(t, map[string]time.Duration{refusedElsewhere: promised, watchCut: promised, watchCutOff: staleness + promised})
	}
}

// round revokes one of each kind.
func (s *school) round(n int, cut bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	pupils := s.pupils(n)
	var all []*visitor
	for _, p := range pupils {
		all = append(all, p.visitors...)
	}
	defer func() {
		cancel()
		for _, v := range all {
			v.transport.CloseIdleConnections()
		}
	}()
	s.each(all, func(v *visitor) { s.enter(ctx, v) })
	if s.t.Failed() {
		return
	}
	var since time.Time
	if cut {
		s.gate.set(true)
		defer s.gate.set(false)
		since = time.Now()
	}
	for _, p := range pupils {
		s.revoke(ctx, p, cut)
	}
	if cut {
		s.cutOff(ctx, pupils, since)
	}
	for _, p := range pupils {
		if !p.lift {
			continue
		}
		s.replicas[0].must(s.t, "DELETE", revocationsPath+"/"+p.made.Name, nil, nil)
		for _, v := range p.visitors {
			eventually(s.t, elsewhere, "letting in again "+v.what, func() error { return v.letIn(ctx) })
		}
	}
}

const revocationsPath = "/apis/gatehouse.dev/v1alpha1/revocations"

// each does something for all visitors at the same time.
func (s *school) each(all []*visitor, do func(*visitor)) {
	var work sync.WaitGroup
	for _, v := range all {
		work.Go(func() { do(v) })
	}
	work.Wait()
}

// enter has a visitor let in, and watch.
func (s *school) enter(ctx context.Context, v *visitor) {
	if err := v.letIn(ctx); err != nil {
		s.t.Errorf("%s is not let in before: %v", v.what, err)
		return
	}
	var err error
	if v.watch, err = v.open(ctx); err != nil {
		s.t.Errorf("%s may not watch: %v", v.what, err)
	}
}

// revoke revokes on the first process, and holds all to it that are not cut off:
// the first at once, and the others soon.
func (s *school) revoke(ctx context.Context, p *pupil, cut bool) {
	s.t.Helper()
	name := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(p.kind), ",", ""), " ", "-")
	began := time.Now()
	s.replicas[0].must(s.t, "POST", revocationsPath, &v1alpha1.Revocation{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}, Spec: p.spec,
	}, &p.made)
	p.said = time.Now()
	s.each(p.visitors, func(v *visitor) {
		switch {
		case v.at == 0:
			if err := v.letIn(ctx); !isRefused(err, http.StatusUnauthorized) {
				s.t.Errorf("where it was said, %s is answered with %v", v.what, err)
			}
		case v.at == away && cut:
			return
		default:
			s.untilRefused(ctx, p, v)
		}
		ended, last := v.watch.end(elsewhere)
		if !strings.Contains(last, `"type":"ERROR"`) || !strings.Contains(last, `"code":401`) || !strings.Contains(last, "has been revoked") {
			s.t.Errorf("the watch of %s ended with %q", v.what, last)
		}
		// It may end before the call returns.
		s.took.add(p.kind, watchCut, ended.Sub(began))
	})
}

// untilRefused measures until the answer is there that refuses the visitor.
func (s *school) untilRefused(ctx context.Context, p *pupil, v *visitor) {
	for {
		err := v.letIn(ctx)
		took := time.Since(p.said)
		switch {
		case isRefused(err, http.StatusUnauthorized):
			s.took.add(p.kind, refusedElsewhere, took)
			return
		case err != nil || took > elsewhere:
			s.t.Errorf("after %v the answer to %s is %v", took, v.what, err)
			return
		}
	}
}

// away is the process that can be cut off.
const away = 3

// cutOff holds the process that is cut off since a moment to its limit: nobody is
// let in who asks later, and no watch goes on. When it has its store again, it
// refuses who was revoked meanwhile from the first answer on.
func (s *school) cutOff(ctx context.Context, pupils []*pupil, since time.Time) {
	s.t.Helper()
	var there []*visitor
	kinds := map[*visitor]string{}
	for _, p := range pupils {
		for _, v := range p.visitors {
			if v.at == away {
				there, kinds[v] = append(there, v), p.kind
			}
		}
	}
	s.each(there, func(v *visitor) {
		for {
			asked := time.Since(since)
			err := v.letIn(ctx)
			if isRefused(err, http.StatusServiceUnavailable) {
				s.took.add(kinds[v], refusedCutOff, time.Since(since))
				break
			}
			// What it knows is as old as the cut at least.
			if err != nil || asked > staleness {
				s.t.Errorf("asking %v after the cut, %s is answered with %v", asked, v.what, err)
				return
			}
			time.Sleep(askEvery)
		}
		ended, last := v.watch.end(elsewhere)
		if !strings.Contains(last, `"type":"ERROR"`) || !strings.Contains(last, `"code":503`) {
			s.t.Errorf("the watch of %s ended with %q", v.what, last)
		}
		s.took.add(kinds[v], watchCutOff, ended.Sub(since))
	})
	s.gate.set(false)
	s.each(there, func(v *visitor) {
		eventually(s.t, recovery, "refusing "+v.what, func() error {
			err := v.letIn(ctx)
			if err == nil {
				s.t.Errorf("%s is let in after the cut", v.what)
			}
			if isRefused(err, http.StatusUnauthorized) {
				return nil
			}
			return fmt.Errorf("answered with %w", err)
		})
	})
}

// An openedWatch is read until it ends.
type openedWatch struct {
	done  chan struct{}
	ended time.Time
	last  string
}

func (c *client) open(ctx context.Context) (*openedWatch, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+watchPath, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("answered %s", response.Status)
	}
	w := &openedWatch{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer response.Body.Close()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			w.last = lines.Text()
		}
		w.ended = time.Now()
	}()
	return w, nil
}

// end returns when the watch has ended, and its last line.
func (w *openedWatch) end(limit time.Duration) (time.Time, string) {
	select {
	case <-w.done:
		return w.ended, w.last
	case <-time.After(limit):
		return time.Now(), fmt.Sprint("not at all within ", limit)
	}
}
