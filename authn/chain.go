package authn

import (
	"errors"
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
// as kube-apiserver builds it.)
func Chain(as ...Authenticator) Authenticator { return chain(as) }

func (c chain) Authenticate(r *http.Request) (*Result, error) {
	var refusals []error
	for _, a := range c {
		res, err := a.Authenticate(r)
		if err == nil {
			err = complete(res, a)
		}
		if err == nil {
			return res, nil
		}
		if refused(err) {
			refusals = append(refusals, err)
		}
	}
	return nil, joined(refusals)
}

// joined returns the refusals as one error, or ErrNoCredential if there is none.
func joined(refusals []error) error {
	switch len(refusals) {
	case 0:
		return ErrNoCredential
	case 1:
		return refusals[0]
	}
	return errors.Join(refusals...)
}

// complete refuses the answer of an authenticator that says yes to nobody.
func complete(res *Result, from any) error {
	if res == nil || res.Identity == nil || res.Identity.Name == "" {
		return fmt.Errorf("internal error: %T accepted a credential without saying whose it is", from)
	}
	return nil
}

type orAnonymous struct{ known, anonymous Authenticator }

// OrAnonymous returns an [Authenticator] that asks anonymous about the requests
// that known finds no credential in. A request with a refused credential is
// refused, and anonymous is not asked.
func OrAnonymous(known, anonymous Authenticator) Authenticator {
	return orAnonymous{known, anonymous}
}

func (o orAnonymous) Authenticate(r *http.Request) (*Result, error) {
	res, err := o.known.Authenticate(r)
	if err == nil {
		return res, complete(res, o.known)
	}
	if refused(err) {
		return nil, err
	}
	return o.anonymous.Authenticate(r)
}
