// Package turncoat is services that are good until they are slow, dead or talk
// garbage, and the crowd that asks them.
//
// The one idea is that a service counts what is asked of it at the same time, by
// what that is: whoever asks for something that many want asks for it once.
package turncoat

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// An Answer is how a service behaves.
type Answer func(*http.Request) (*http.Response, error)

// A Service is an [http.RoundTripper] that behaves as it is told.
type Service struct {
	// Key says what is asked for, or "" of what is no business of the service, which
	// goes to Good and is not counted.
	Key  func(*http.Request) string
	Good http.RoundTripper

	mu     sync.Mutex
	answer Answer
	flying map[string]int
	now    int
	counts Counts
}

// Counts are what a service was asked since it behaves as it does.
type Counts struct {
	Asked int
	// Most were asked at the same time, and Twice is something that was more than
	// once, or "".
	Most  int
	Twice string
}

// Behave has the service answer so from now on, and count anew. Nil is as Good
// does.
func (s *Service) Behave(answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.counts = answer, Counts{}
}

// Counts returns them.
func (s *Service) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// RoundTrip implements [http.RoundTripper].
func (s *Service) RoundTrip(r *http.Request) (*http.Response, error) {
	what := s.Key(r)
	if what == "" {
		return s.Good.RoundTrip(r)
	}
	answer := s.begin(what)
	defer s.end(what)
	if answer == nil {
		return s.Good.RoundTrip(r)
	}
	return answer(r)
}

func (s *Service) begin(what string) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying == nil {
		s.flying = map[string]int{}
	}
	s.counts.Asked++
	s.now++
	s.counts.Most = max(s.counts.Most, s.now)
	if s.flying[what]++; s.flying[what] > 1 {
		s.counts.Twice = what
	}
	return s.answer
}

func (s *Service) end(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if s.flying[what]--; s.flying[what] == 0 {
		delete(s.flying, what)
	}
}

// Says answers with a code and a text.
func Says(code int, text string) Answer {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
}

// Slow says a text after a while.
func Slow(by time.Duration, text string) Answer {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(by):
			return Says(http.StatusOK, text)(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// Hangs never answers.
func Hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// Dead refuses the connection.
func Dead(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }

// Garbage says what is no answer.
func Garbage(r *http.Request) (*http.Response, error) { return Says(http.StatusOK, "<html>\x00")(r) }

// Crowd has each of some questions asked by callers at once, of whom the first
// leaves after a second. It returns at once what waits for all of them.
func Crowd(ctx context.Context, questions, callers int, ask func(ctx context.Context, question int)) *sync.WaitGroup {
	var all sync.WaitGroup
	for i := range questions * callers {
		ctx, leave := context.WithCancel(ctx)
		if i%callers == 0 {
			time.AfterFunc(time.Second, leave)
		}
		all.Go(func() {
			defer leave()
			ask(ctx, i%questions)
		})
	}
	return &all
}

// Running counts the goroutines of the bubble that a test is in.
func Running() int {
	text := make([]byte, 1<<20)
	return strings.Count(string(text[:runtime.Stack(text, true)]), "synctest bubble")
}

// Settle waits until what has begun has ended, and fails a test if there are more
// goroutines in its bubble then than before.
func Settle(t testing.TB, before int) {
	t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if after := Running(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
