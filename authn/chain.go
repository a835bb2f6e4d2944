package authn

import (
	"fmt"
	"net/http"
)

type chain []Authenticator

// Chain returns an [Authenticator] that asks all of as in turn and answers with
// the first caller one of them finds.
//
// A refusal does not end the chain, because a later authenticator may accept
// what an earlier one refused, and a bad certificate does not spoil a good
// token. But a request with a refused credential is never one without: if
// nobody is found, Chain returns the refusals, joined, and the error does not
// wrap [ErrNoCredential]. (k8s.io/apiserver pkg/authentication/request/union,
// as kube-apiserver builds it.) What all of them said is told by [Ladder].
func Chain(as ...Authenticator) Authenticator { return chain(as) }

func (c chain) Authenticate(r *http.Request) (*Result, error) { return c.climb(r, nil) }

func (c chain) climb(r *http.Request, l *ladder) (*Result, error) {
	var room [usual]error
	said, bad := room[:0], false
	for _, a := range c {
		var res *Result
		var err error
		if l == nil { // which every request is, so no further call
			res, err = a.Authenticate(r)
		} else {
			res, err = l.ask(a, r)
		}
		if err == nil {
			if complete(res) {
				return res, nil
			}
			err = incomplete(a)
		}
		bad = bad || refused(err)
		said = append(said, err)
	}
	if !bad {
		return nil, ErrNoCredential
	}
	return nil, c.tried(r, said, l == nil)
}

// tried is the error of a chain whose members have all said no. What a member has
// yet to tell of r, it is asked for.
func (c chain) tried(r *http.Request, said []error, ask bool) error {
	var room [usual]answer
	all := room[:0]
	for i, err := range said {
		if ask {
			err = witness(c[i], r, err)
		}
		all = append(all, answer{c[i], err})
	}
	return together(all)
}

// usual is how many answers are put together without allocating, and few how many
// of them are kept in their error.
const usual, few = 8, 4

// together returns one error for answers of which none is an identity.
func together(said []answer) error {
	t := new(tried)
	t.said = append(t.room[:0], said...) // a copy, so that said need not outlive its function
	return t
}

// complete reports whether an answer says yes to somebody.
func complete(res *Result) bool {
	return res != nil && res.Identity != nil && (res.named == res.Identity || res.Identity.Name != "")
}

// checked is err, or that the answer that came with it says yes to nobody.
func checked(res *Result, err error, from any) error {
	if err == nil && !complete(res) {
		return incomplete(from)
	}
	return err
}

// incomplete refuses the answer of an authenticator that says yes to nobody.
func incomplete(from any) error {
	return fmt.Errorf("internal error: %T accepted a credential without saying whose it is", from)
}

type orAnonymous struct{ known, anonymous Authenticator }

// OrAnonymous returns an [Authenticator] that asks anonymous about the requests
// that known finds no credential in. A request with a refused credential is
// refused, and anonymous is not asked.
func OrAnonymous(known, anonymous Authenticator) Authenticator {
	return orAnonymous{known, anonymous}
}

func (o orAnonymous) Authenticate(r *http.Request) (*Result, error) { return o.climb(r, nil) }

func (o orAnonymous) climb(r *http.Request, l *ladder) (*Result, error) {
	res, err := l.ask(o.known, r)
	if err = checked(res, err, o.known); err == nil {
		return res, nil
	}
	if refused(err) {
		return nil, err
	}
	res, err = l.ask(o.anonymous, r)
	switch err = checked(res, err, o.anonymous); {
	case err == nil:
		return res, nil
	case refused(err):
		return nil, err
	}
	return nil, ErrNoCredential // what was said is for a ladder
}
