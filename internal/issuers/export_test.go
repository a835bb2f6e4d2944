package issuers

import (
	"context"
	"sync"
)

// Start asks the issuers for their keys until ctx ends, as Run does, and leaves
// the file alone: following it waits for the system, which stops virtual time.
func (l *Live) Start(ctx context.Context) { l.startAll(ctx, new(sync.WaitGroup), l.sources) }

// Reload reads the file now.
func (l *Live) Reload(ctx context.Context) {
	l.file.Check()
	l.apply(ctx, new(sync.WaitGroup))
}

// MembersIn returns the members of a variable that an expression reads.
func MembersIn(expression, variable string) []string { return membersIn(expression, variable) }
