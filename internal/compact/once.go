package compact

import "context"

type onceKey struct{}

// A reading is what came of the last token that was read with a context, and is
// that context.
type reading struct {
	context.Context
	text   string
	token  *Token
	claims Object
	err    error
}

// Value implements [context.Context].
func (r *reading) Value(key any) any {
	if key == (onceKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// Once returns a context with which [Read] reads a token once, however many ask
// one after the other. The context must not be used by several goroutines at the
// same time.
func Once(ctx context.Context) context.Context { return &reading{Context: ctx} }

// Read is [Parse] and [Token.Claims] in one. Both results are shared with whoever
// else reads the same token with ctx, and must not be changed.
func Read(ctx context.Context, text string) (*Token, Object, error) {
	last, _ := ctx.Value(onceKey{}).(*reading)
	if last == nil {
		return read(text)
	}
	if text == "" || last.text != text {
		last.text = text
		last.token, last.claims, last.err = read(text)
	}
	return last.token, last.claims, last.err
}

func read(text string) (*Token, Object, error) {
	t, err := Parse(text)
	if err != nil {
		return nil, Object{}, err
	}
	claims, err := t.Claims()
	if err != nil {
		return nil, Object{}, err
	}
	return t, claims, nil
}
