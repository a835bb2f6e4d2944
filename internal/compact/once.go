package compact

import (
	"context"
	"sync"
)

type onceKey struct{}

// Readings makes contexts with which tokens are read, in memory that is used
// again. The zero value is ready to use.
type Readings struct{ released sync.Pool }

// A Shared context has the token that was read with it.
type Shared struct {
	context.Context
	from *Readings
	read *reading
}

// A reading is what came of reading a token.
type reading struct {
	text   string
	token  Token
	claims Object
	err    error
}

// Once returns a context with which [Read] reads a token once, however many ask
// one after the other. The context must not be used by several goroutines at the
// same time.
func (r *Readings) Once(ctx context.Context) *Shared { return &Shared{Context: ctx, from: r} }

// get returns a reading of nothing.
func (r *Readings) get() *reading {
	if released, ok := r.released.Get().(*reading); ok {
		return released
	}
	return new(reading)
}

// Value implements [context.Context].
func (s *Shared) Value(key any) any {
	if key == (onceKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// Release says that nobody refers any more to what [Read] has returned with s:
// neither to the token, nor to the bytes that are in it. A token that is not
// released is left to the garbage collector.
func (s *Shared) Release() {
	r := s.read
	if r == nil {
		return
	}
	r.token.forget()
	r.text, r.claims, r.err, s.read = "", Object{}, nil, nil
	s.from.released.Put(r)
}

// Read is [Parse] and [Token.Claims] in one. Both results are shared with whoever
// else reads the same token with ctx, and must not be changed.
func Read(ctx context.Context, text string) (*Token, Object, error) {
	s, _ := ctx.Value(onceKey{}).(*Shared)
	switch {
	case s == nil:
		return new(reading).of(text)
	case s.read == nil:
		s.read = s.from.get()
	case s.read.text != text:
		// The one before may still be in use.
		s.read = new(reading)
	case text != "":
		return s.read.results()
	}
	return s.read.of(text)
}

// of reads a token.
func (r *reading) of(text string) (*Token, Object, error) {
	r.text = text
	if r.err = r.token.parse(text); r.err == nil {
		r.claims, r.err = r.token.Claims()
	}
	return r.results()
}

func (r *reading) results() (*Token, Object, error) {
	if r.err != nil {
		return nil, Object{}, r.err
	}
	return &r.token, r.claims, nil
}
