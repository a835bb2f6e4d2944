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
	read *Reading
}

// A Reading is what came of reading a token so far.
type Reading struct {
	text   string
	token  Token
	claims Object
	err    error
	whole  bool
}

// Once returns a context with which [Open] reads a token once, however many ask
// one after the other. The context must not be used by several goroutines at the
// same time.
func (r *Readings) Once(ctx context.Context) *Shared { return &Shared{Context: ctx, from: r} }

// get returns a reading of nothing.
func (r *Readings) get() *Reading {
	if released, ok := r.released.Get().(*Reading); ok {
		return released
	}
	return new(Reading)
}

// Value implements [context.Context].
func (s *Shared) Value(key any) any {
	if key == (onceKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// Release says that nobody refers any more to what [Open] has returned with s:
// neither to the token, nor to the bytes that are in it. A token that is not
// released is left to the garbage collector.
func (s *Shared) Release() {
	r := s.read
	if r == nil {
		return
	}
	r.token.forget()
	r.text, r.claims, r.err, r.whole, s.read = "", Object{}, nil, false, nil
	s.from.released.Put(r)
}

// Open reads of a token what tells whose it is: all but its signature and the
// claims behind iss. So one that is of nobody's issuer takes no more work than
// that. What it returns is shared with whoever else reads the same token with ctx.
func Open(ctx context.Context, text string) (*Reading, error) {
	s, _ := ctx.Value(onceKey{}).(*Shared)
	switch {
	case s == nil:
		return new(Reading).open(text)
	case s.read == nil:
		s.read = s.from.get()
	case s.read.text != text:
		// The one before may still be in use.
		s.read = new(Reading)
	case text != "":
		return s.read.opened()
	}
	return s.read.open(text)
}

func (r *Reading) open(text string) (*Reading, error) {
	r.text = text
	if r.err = r.token.open(text); r.err == nil {
		r.err = r.token.readIssuer()
	}
	return r.opened()
}

// opened returns r if there is something to read in it: what it would say
// otherwise may be what the token before said.
func (r *Reading) opened() (*Reading, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r, nil
}

// Issuer is [Token.Issuer].
func (r *Reading) Issuer() (string, error) { return r.token.Issuer() }

// All reads the rest. Both results must not be changed.
func (r *Reading) All() (*Token, *Object, error) {
	if r.err == nil && !r.whole {
		r.whole = true
		if r.err = r.token.readSignature(); r.err == nil {
			r.claims, r.err = r.token.Claims()
		}
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	return &r.token, &r.claims, nil
}

// Read is [Open] and [Reading.All] in one.
func Read(ctx context.Context, text string) (*Token, *Object, error) {
	r, err := Open(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	return r.All()
}
