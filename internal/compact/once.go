package compact

import "context"

type onceKey struct{}

// A reading is what came of the last token that was read.
type reading struct {
	text   string
	token  *Token
	claims Object
	err    error
}

// Once returns a context with which [Read] reads a token once, however many ask
// one after the other. The context must not be used by several goroutines at the
// same time.
func Once(ctx context.Context) context.Context {
	return context.WithValue(ctx, onceKey{}, new(reading))
}

// Read is [Parse] and [Token.Claims] in one. Both results are shared with whoever
// else reads the same token with ctx, and must not be changed.
func Read(ctx context.Context, text string) (*Token, Object, error) {
	last, _ := ctx.Value(onceKey{}).(*reading)
	if last == nil {
		last = new(reading)
	}
	if text == "" || last.text != text {
		*last = read(text)
	}
	return last.token, last.claims, last.err
}

func read(text string) reading {
	t, err := Parse(text)
	if err != nil {
		return reading{text: text, err: err}
	}
	claims, err := t.Claims()
	if err != nil {
		return reading{text: text, err: err}
	}
	return reading{text, t, claims, nil}
}
