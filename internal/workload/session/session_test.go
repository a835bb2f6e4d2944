package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/gatehouse/internal/secret"
	"gatehouse.dev/gatehouse/internal/workload"
	"gatehouse.dev/gatehouse/internal/workload/session"
)

var (
	errAway      = errors.New("connection refused")
	errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "x", errors.New("no rule"))
)

// A kept session notes what it is told.
type kept struct {
	*session.Session
	s    *server
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	tokens []string
	lost   []error
	refuse error // of the folder of the files
}

func open(t *testing.T, s *server, interval time.Duration) (*session.Session, error) {
	return session.Open(t.Context(), session.Config{
		API: s.config(), Interval: interval,
		Process: workload.Process{Namespace: "ns", Name: "job", ServiceAccount: "app", Command: "job"},
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// keep opens a session and keeps it until the test ends.
func keep(t *testing.T, s *server, interval time.Duration) *kept {
	t.Helper()
	opened, err := open(t, s, interval)
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{Session: opened, s: s, done: make(chan struct{})}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(t.Context())
	go func() {
		defer close(k.done)
		k.Keep(ctx, k.renewed, func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.lost = append(k.lost, err)
		})
	}()
	t.Cleanup(func() {
		k.stop()
		<-k.done
	})
	return k
}

func (k *kept) renewed(token secret.Bytes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return k.refuse
	}
	k.tokens = append(k.tokens, string(token.Reveal()))
	return nil
}

// told returns the new tokens, and how often the session said it was lost.
func (k *kept) told() (tokens []string, lost []error) {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.tokens), slices.Clone(k.lost)
}

func TestOpenAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		opened, err := open(t, s, 0)
		if err != nil {
			t.Fatal(err)
		}
		if string(opened.Token().Reveal()) != "token-1" || opened.Name() != "job" {
			t.Errorf("token %s of %s", opened.Token().Reveal(), opened.Name())
		}
		pod, lease := s.pods["job"], s.leases["job"]
		if !workload.IsPod(pod) || !workload.Keeps(lease, pod) || pod.Status.Phase != "Running" || pod.Spec.ServiceAccountName != "app" {
			t.Errorf("Pod %+v, Lease %+v", pod, lease)
		}
		if err := opened.Close(t.Context()); err != nil || len(s.pods)+len(s.leases) != 0 {
			t.Errorf("closed: %v, left %v %v", err, s.pods, s.leases)
		}
		if err := opened.Close(t.Context()); err != nil {
			t.Errorf("closing what is gone: %v", err)
		}
	})
}

// What was made before an error is taken back, and the error says what failed.
func TestOpenFails(t *testing.T) {
	for call, want := range map[string]string{
		"POST pods": "registering the process", "POST leases": "registering the process",
		"POST token": "asking for a token", "PUT status": "registering the process",
	} {
		for name, failure := range map[string]error{"forbidden": errForbidden, "away": errAway} {
			t.Run(call+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newServer(t)
					s.before = func(c string) error {
						if c == call {
							return failure
						}
						return nil
					}
					_, err := open(t, s, 0)
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("error %v, want one with %q", err, want)
					}
					if len(s.pods)+len(s.leases) != 0 {
						t.Errorf("left %v %v", s.pods, s.leases)
					}
				})
			})
		}
	}
}

func TestRefreshes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval time.Duration
		want     time.Duration
	}{
		{"at 80 %", 0, 8 * time.Minute},
		{"sooner", time.Minute, time.Minute},
		{"never later", time.Hour, 8 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := keep(t, newServer(t), tt.interval)
				time.Sleep(3*tt.want - time.Millisecond)
				if tokens, _ := k.told(); len(tokens) != 2 {
					t.Errorf("just before the third there are %q", tokens)
				}
				time.Sleep(time.Millisecond)
				tokens, lost := k.told()
				if want := []string{"token-2", "token-3", "token-4"}; !slices.Equal(tokens, want) || lost != nil {
					t.Errorf("tokens %q, lost %v, want %q", tokens, lost, want)
				}
			})
		})
	}
}

func TestBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		keep(t, s, 0)
		for range 30 {
			time.Sleep(workload.Heartbeat)
			synctest.Wait()
			s.set(func() {
				if age := time.Since(s.leases["job"].Spec.RenewTime.Time); age > time.Millisecond {
					t.Errorf("the lease was renewed %v ago", age)
				}
			})
		}
	})
}

// While the server is away everything is tried again, often enough for a Lease,
// and not more often than that.
func TestOutage(t *testing.T) {
	for name, failure := range map[string]error{"away": errAway, "forbidden": errForbidden,
		"broken": apierrors.NewInternalError(errors.New("disk"))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				k := keep(t, s, 0)
				time.Sleep(7 * time.Minute)
				synctest.Wait()
				beats, tokens := s.count("PATCH leases"), s.count("POST token")
				s.set(func() { s.before = func(string) error { return failure } })
				time.Sleep(2*time.Minute + 30*time.Second)
				synctest.Wait()
				// 150 s at 4 s and a fifth more, and 90 s at up to 18 s.
				if n := s.count("PATCH leases") - beats; n < 30 || n > 60 {
					t.Errorf("%d heartbeats in 150 s", n)
				}
				if n := s.count("POST token") - tokens; n < 6 || n > 15 {
					t.Errorf("%d requests of tokens in 90 s", n)
				}
				s.set(func() { s.before = nil })
				time.Sleep(18 * time.Second)
				got, lost := k.told()
				if len(got) != 1 || lost != nil {
					t.Errorf("after the outage there are %q, lost %v", got, lost)
				}
			})
		})
	}
}

// The end of the token is told once, in that moment, and a new one is taken when
// there is one.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		k := keep(t, s, 0)
		s.set(func() {
			s.before = func(call string) error {
				if call == "POST token" {
					return errAway
				}
				return nil
			}
		})
		time.Sleep(10*time.Minute - time.Millisecond)
		if _, lost := k.told(); lost != nil {
			t.Errorf("lost before the token has ended: %v", lost)
		}
		time.Sleep(time.Millisecond)
		if _, lost := k.told(); len(lost) != 1 || !errors.Is(lost[0], session.ErrEnded) {
			t.Errorf("as the token ends: %v", lost)
		}
		time.Sleep(time.Hour)
		if _, lost := k.told(); len(lost) != 1 {
			t.Errorf("an hour later: %v", lost)
		}
		s.set(func() { s.before = nil })
		time.Sleep(18 * time.Second)
		if tokens, _ := k.told(); len(tokens) != 1 {
			t.Errorf("when the server is back: %q", tokens)
		}
		// It may end again.
		s.set(func() { s.before = func(string) error { return errAway } })
		time.Sleep(time.Hour)
		if _, lost := k.told(); len(lost) != 2 {
			t.Errorf("the second time: %v", lost)
		}
	})
}

// A token that cannot be handed on is none.
func TestFolderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, newServer(t), 0)
		k.mu.Lock()
		k.refuse = fmt.Errorf("no space")
		k.mu.Unlock()
		time.Sleep(10 * time.Minute)
		tokens, lost := k.told()
		if tokens != nil || len(lost) != 1 || !errors.Is(lost[0], session.ErrEnded) {
			t.Errorf("tokens %q, lost %v", tokens, lost)
		}
	})
}

// Who deletes the Pod ends the session, and nothing is made anew.
func TestPodGone(t *testing.T) {
	gone := func(s *server) { delete(s.pods, "job") }
	for _, tt := range []struct {
		name   string
		delete func(*server)
		within time.Duration
	}{
		{"with its lease, as the controller does", func(s *server) { gone(s); delete(s.leases, "job") }, workload.Heartbeat},
		{"without its lease", gone, session.LongestInterval},
		{"another of its name", func(s *server) {
			pod := s.pods["job"].DeepCopy()
			pod.UID = "other"
			s.pods["job"] = pod
			delete(s.leases, "job")
		}, workload.Heartbeat},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				k := keep(t, s, 0)
				time.Sleep(time.Millisecond)
				s.set(func() { tt.delete(s) })
				time.Sleep(tt.within)
				select {
				case <-k.done:
				default:
					t.Error("it is still kept")
				}
				if _, lost := k.told(); len(lost) != 1 || !errors.Is(lost[0], session.ErrGone) {
					t.Errorf("lost: %v", lost)
				}
				if n := s.count("POST pods"); n != 1 {
					t.Errorf("%d Pods were made", n)
				}
				before := len(s.pods)
				if err := k.Close(t.Context()); err != nil || len(s.pods) != before {
					t.Errorf("closing deleted somebody else's Pod, or failed: %v", err)
				}
			})
		})
	}
}

// A Lease alone is put right.
func TestLeaseGone(t *testing.T) {
	for name, change := range map[string]func(*server){
		"deleted":        func(s *server) { delete(s.leases, "job") },
		"another's":      func(s *server) { s.leases["job"].OwnerReferences = nil },
		"without labels": func(s *server) { s.leases["job"].Labels = nil },
		"made by somebody else at that moment": func(s *server) {
			lease := s.leases["job"]
			delete(s.leases, "job")
			s.before = func(call string) error {
				if call == "POST leases" {
					lease.OwnerReferences, s.leases["job"] = nil, lease
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				k := keep(t, s, 0)
				s.set(func() { change(s) })
				time.Sleep(workload.Heartbeat)
				synctest.Wait()
				s.set(func() {
					lease := s.leases["job"]
					if lease == nil || !workload.Keeps(lease, s.pods["job"]) {
						t.Errorf("the lease is %+v", lease)
					}
				})
				if _, lost := k.told(); lost != nil {
					t.Errorf("lost: %v", lost)
				}
			})
		})
	}
}
