package listener_test

import (
	"errors"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// speak sends a byte to the server.
func speak(g *guest) { go func() { _, _ = g.there.Write([]byte{1}) }() }

// read reads a byte at the server, as a handshake does.
func read(g *guest) error {
	_, err := g.Read(make([]byte, 1))
	return err
}

func TestWhatEndsATurn(t *testing.T) {
	tests := map[string]func(s *street, g *guest){
		"writing":       func(_ *street, g *guest) { go g.Write([]byte{1}) },
		"reading":       func(_ *street, g *guest) { go g.Read(make([]byte, 1)) },
		"closing":       func(_ *street, g *guest) { g.Close() },
		"a request":     func(s *street, g *guest) { s.Track(g.Conn, http.StateActive) },
		"doing it more": func(_ *street, g *guest) { g.Close(); g.Close(); go g.Write([]byte{1}) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t, 100, 1)
				first := s.arrive(crowded)
				speak(first)
				if err := read(first); err != nil {
					t.Fatal(err)
				}
				second, third := s.arrive(crowded), s.arrive(quiet)
				var got int
				for _, g := range []*guest{second, third} {
					speak(g)
					go func() {
						if read(g) == nil {
							got++
						}
					}()
				}
				synctest.Wait()
				if got != 0 {
					t.Fatalf("%d have a turn that another one has", got)
				}
				end(s, first)
				synctest.Wait()
				if got != 1 {
					t.Errorf("%d have the turn that ended, want 1", got)
				}
				for _, g := range []*guest{first, second, third} {
					g.Close()
					g.there.Close()
				}
			})
		})
	}
}

func TestDeadlineHoldsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 100, 1)
		working, late := s.arrive(crowded), s.arrive(quiet)
		speak(working)
		if err := read(working); err != nil {
			t.Fatal(err)
		}
		_ = late.SetDeadline(time.Now().Add(time.Minute))
		speak(late)
		start := time.Now()
		if err := read(late); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("waiting past the deadline: %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("waited for %v, want %v", took, time.Minute)
		}
		if waiting := s.Stats().Waiting; waiting != 0 {
			t.Errorf("%d are waiting, want none", waiting)
		}
	})
}

// After its first request a connection never waits.
func TestRequestsTakeNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 100, 1)
		working, known := s.arrive(crowded), s.in(http.StateIdle, quiet)
		speak(working)
		if err := read(working); err != nil {
			t.Fatal(err)
		}
		speak(known)
		if err := read(known); err != nil {
			t.Errorf("reading of a connection that has sent a request: %v", err)
		}
	})
}
