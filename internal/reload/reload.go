// Package reload keeps in memory what a file says, and follows its changes.
//
// The one idea: a bad file never takes effect. [Open] fails on it; later on the
// last good value stays, and [File.Status] says what is wrong until it has been
// mended. The folder is watched, so that renames and the symbolic links of a
// mounted volume are seen, and the file is read once a minute in any case,
// because some file systems tell nothing. A value that is made of several files
// (see [OpenSet]) changes with any of them, and always as a whole.
//
// It refuses to read more than [MaxSize] bytes.
package reload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// MaxSize is the largest file, in bytes, that is read. A million static tokens
// take 100 MB.
const MaxSize = 256 << 20

const (
	interval = time.Minute            // as Kubernetes reads its files
	settle   = 100 * time.Millisecond // a writer's several steps are one change
)

// Status is how reading a file has gone so far.
type Status struct {
	// Problem is why the file does not say what is in force, or nil if it does.
	Problem error
	// Successes and Failures count the contents that were taken and refused.
	Successes, Failures uint64
}

// A File is the value that a file stands for.
type File[T any] struct {
	path   string
	parse  func(text []byte, read Reader) (T, error)
	notify func(error)
	value  atomic.Pointer[T]

	// reading is held while the file is read and its value is put in force. It
	// guards what was parsed last, good or bad, and which files were read for it
	// besides.
	reading sync.Mutex
	seen    digest
	others  []string

	mu     sync.Mutex // guards what follows
	status Status
}

type digest = [sha256.Size]byte

// ErrUnsettled is wrapped by the error of a parse that could not tell yet whether
// the content is good: it is looked at again although it has not changed.
var ErrUnsettled = errors.New("not decided yet")

// A Reader reads another file that a value is made of.
type Reader func(path string) ([]byte, error)

// Open reads the file at path. Parse makes the value of its content; its errors
// must not repeat secrets. Notify, which may be nil, is called after each later
// attempt that changed something: with nil when there is another value, or with
// the problem, which names the file. [File.Status] counts a good content when
// notify has returned, so that what is counted is in force everywhere.
func Open[T any](path string, parse func([]byte) (T, error), notify func(error)) (*File[T], error) {
	return OpenSet(path, func(text []byte, _ Reader) (T, error) { return parse(text) }, notify)
}

// OpenSet is [Open] for a file that names others. Parse reads those by read, and
// is called again when one of them has changed, came or went.
func OpenSet[T any](path string, parse func(text []byte, read Reader) (T, error), notify func(error)) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, notify: notify}
	f.Check()
	if problem := f.Status().Problem; problem != nil {
		return nil, problem
	}
	return f, nil
}

// Value returns what the last good content of the file stands for.
func (f *File[T]) Value() T { return *f.value.Load() }

// Status returns how reading has gone so far.
func (f *File[T]) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Check reads the file now, and takes its value if it is good and new.
func (f *File[T]) Check() {
	f.reading.Lock()
	defer f.reading.Unlock()
	first := f.value.Load() == nil
	status := f.Status()
	changed := f.check(&status)
	if status.Problem != nil { // nothing has to come into force before it counts
		f.tell(status)
	}
	if changed && !first && f.notify != nil {
		f.notify(status.Problem)
	}
	f.tell(status)
}

func (f *File[T]) tell(status Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

// check reads the file, notes in status how that went, and reports whether
// anything is other than before. The caller holds f.reading.
func (f *File[T]) check(status *Status) (changed bool) {
	data, err := read(f.path)
	if err != nil {
		// Once the file is back, its content is worth another look.
		f.seen, f.others = digest{}, nil
		return status.fail(fmt.Errorf("reading %s: %w", f.path, err))
	}
	now := newSet(data)
	for _, path := range f.others {
		_, _ = now.read(path) // that it cannot be read is part of the digest
	}
	if f.seen == now.digest() {
		return false
	}
	now = newSet(data)
	value, err := f.parse(data, now.read)
	f.seen, f.others = now.digest(), now.paths
	if errors.Is(err, ErrUnsettled) {
		f.seen = digest{}
	}
	if err != nil {
		return status.fail(fmt.Errorf("reading %s: %w", f.path, err))
	}
	f.value.Store(&value)
	status.Problem = nil
	status.Successes++
	return true
}

// fail notes a problem, and reports whether it is another one.
func (s *Status) fail(problem error) bool {
	changed := s.Problem == nil || s.Problem.Error() != problem.Error()
	s.Problem = problem
	s.Failures++
	return changed
}

// A set is what was read to make one value.
type set struct {
	paths []string
	sums  []byte
}

func newSet(text []byte) *set { return &set{sums: appendSum(nil, text)} }

// read reads one more file.
func (s *set) read(path string) ([]byte, error) {
	data, err := read(path)
	s.paths = append(s.paths, path)
	if err != nil {
		s.sums = append(s.sums, make([]byte, sha256.Size)...)
		return nil, err
	}
	s.sums = appendSum(s.sums, data)
	return data, nil
}

func (s *set) digest() digest { return sha256.Sum256(s.sums) }

func appendSum(to, data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(to, sum[:]...)
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if n > MaxSize {
		return nil, fmt.Errorf("file is larger than %d MiB", MaxSize>>20)
	}
	return buf.Bytes(), nil
}

// Run follows the file until ctx ends. Where a folder cannot be watched it still
// reads the file once a minute.
func (f *File[T]) Run(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		f.follow(ctx, nil, func() {})
		return
	}
	defer watcher.Close()
	go func() {
		for range watcher.Errors { // lost events; the next minute brings them
		}
	}()
	f.follow(ctx, watcher.Events, func() {
		for _, folder := range f.folders() {
			_ = watcher.Add(folder) // a folder twice is no error; one that cannot be watched is looked at each minute
		}
	})
}

// folders are where the files are.
func (f *File[T]) folders() []string {
	f.reading.Lock()
	defer f.reading.Unlock()
	folders := []string{filepath.Dir(f.path)}
	for _, path := range f.others {
		if folder := filepath.Dir(path); !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}

// follow checks the file when the events in its folders have settled, and once
// in every interval. Watch is called when there may be others to watch.
func (f *File[T]) follow(ctx context.Context, events <-chan fsnotify.Event, watch func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	watch()
	f.Check() // what changed between Open and the watch
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				events = nil
			}
			// A folder in which something is always going on must not put the
			// check off for ever, so only the first event starts the clock.
			if settled == nil {
				settled = time.After(settle)
			}
			continue
		case <-settled:
			settled = nil
		case <-ticker.C:
		}
		f.Check()
		watch() // what it names may be elsewhere now
	}
}
