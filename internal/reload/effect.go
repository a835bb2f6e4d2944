package reload

import "sync"

// An Effect is what came of files that were read well, as only who uses them can
// tell: one may not be in force all the same. The zero value is ready to use, by
// several goroutines.
type Effect struct {
	mu       sync.Mutex
	problem  error
	failures uint64
}

// Report says why the last file that was read is not in force, or with nil that
// nothing but what was read keeps it from that.
func (e *Effect) Report(problem error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.problem = problem; problem != nil {
		e.failures++
	}
}

// On returns the status of reading with what came of it.
func (e *Effect) On(read Status) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	read.Failures += e.failures
	if read.Problem == nil {
		read.Problem = e.problem
	}
	return read
}
