package authn

import (
	"context"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/inplace"
)

// MaxToken is the longest bearer token, in bytes, that anything is done with.
// Kubernetes' own tokens have about 1,000; those of directories with many
// groups reach 8 KiB.
const MaxToken = 16 << 10

type bearer struct {
	tokens TokenVerifier
	others []string
}

// Bearer returns an [Authenticator] of the bearer token in the Authorization
// header of a request (RFC 6750 section 2.1).
//
// It reads the header strictly: one header, the word Bearer in any case, one
// space, the token. An Authorization header of any other form is not absent but
// refused, so that its sender learns that it counts for nothing; an
// authenticator of another scheme in the same [Chain] may still accept it. Where
// one does, name the scheme in others: headers of those are its own to refuse.
//
// The header stays in the request; whoever passes the request on removes it
// with [RemoveTokens].
func Bearer(tokens TokenVerifier, others ...string) Authenticator { return &bearer{tokens, others} }

func (b *bearer) Authenticate(r *http.Request) (*Result, error) { return b.climb(r, nil) }

func (b *bearer) climb(r *http.Request, l *ladder) (*Result, error) {
	token, err := b.read(r)
	if err != nil {
		l.note(b, nil, err)
		return nil, err
	}
	return presented(r, token, b, b.tokens, l)
}

// Describe implements [Described].
func (*bearer) Describe() (identity.Method, string) { return AnyBearer, "" }

// read returns the token that r was sent with.
func (b *bearer) read(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", errNoHeader
	}
	if len(values) > 1 {
		return "", malformed("request has more than one Authorization header", mendHeader)
	}
	const scheme = "Bearer "
	value := values[0]
	if !strings.HasPrefix(value, scheme) && (len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme)) {
		word, _, _ := strings.Cut(value, " ")
		if slices.ContainsFunc(b.others, func(other string) bool { return strings.EqualFold(word, other) }) {
			return "", errOtherScheme
		}
		return "", malformed(unread(value), mendHeader)
	}
	return value[len(scheme):], nil
}

const (
	mendHeader = "send one header Authorization: Bearer TOKEN, with one space and nothing behind the token"
	mendLong   = "have the issuer put less into the token, such as fewer groups"
)

// malformed is the refusal of what is not of the form of a token.
func malformed(reason, mend string) error {
	return &Refusal{Method: AnyBearer, Reason: reason, Facts: Facts{Kind: Malformed, Mend: mend}}
}

// presented verifies a token that r was sent with as a bearer token. If nobody
// takes it, that is a refusal.
func presented(r *http.Request, token string, by any, tokens TokenVerifier, l *ladder) (*Result, error) {
	if len(token) > MaxToken {
		l.note(by, nil, errTooLong)
		return nil, errTooLong
	}
	res, err := l.askToken(r.Context(), tokens, token)
	switch err = checked(res, err, tokens); {
	case err == nil:
		return res, nil
	case !refused(err):
		err = unknownTo([]answer{{tokens, err}})
		if l != nil {
			l.note(by, nil, unknownTo(nil))
		}
	}
	return nil, err
}

// RemoveTokens removes from h every bearer token that [Bearer] or [WebSocket]
// would read, whether it was accepted or not.
func RemoveTokens(h http.Header) {
	delete(h, "Authorization")
	removeSubprotocols(h)
}

// unread says why an Authorization header is no bearer token. It repeats only
// the names of known schemes, because a header without one is likely to be a
// bare secret.
func unread(value string) string {
	if value == "" {
		return "the Authorization header is empty"
	}
	word, _, _ := strings.Cut(value, " ")
	if strings.EqualFold(word, "Bearer") {
		return "the Authorization header has no bearer token"
	}
	for _, known := range []string{"Basic", "Digest", "Negotiate", "NTLM", "DPoP"} {
		if strings.EqualFold(word, known) {
			return "the Authorization scheme " + known + " is not accepted"
		}
	}
	return "the Authorization header is not of the form \"Bearer TOKEN\""
}

const invalidToken = "invalid bearer token"

// An unclaimed error is the refusal of a token that is nobody's. Strangers can make
// any number of them, so it is a [Refusal] only for who asks.
type unclaimed struct {
	passed []answer
	room   [few]answer
}

func unknownTo(passed []answer) error {
	u := new(unclaimed)
	u.passed = append(u.room[:0], passed...)
	return u
}

func (u *unclaimed) refusal() *Refusal {
	return &Refusal{Method: AnyBearer, Reason: invalidToken, passed: u.passed, Facts: u.facts()}
}

func (u *unclaimed) Error() string { return u.refusal().Error() }

// As is for errors.As.
func (u *unclaimed) As(target any) bool {
	r, ok := target.(**Refusal)
	if ok {
		*r = u.refusal()
	}
	return ok
}

func (u *unclaimed) kind() Kind { return Unknown }

func (u *unclaimed) facts() Facts { return Facts{Kind: Unknown, Mend: mendUnknown} }

// passedBy returns what each of several said, if err is that none of them knows
// the token.
func passedBy(err error) []answer {
	if u, ok := err.(*unclaimed); ok {
		return u.passed
	}
	return nil
}

// Unclaimed reports whether err is that of [Tokens] for a token that none of them
// takes for its own.
func Unclaimed(err error) bool { return len(passedBy(err)) > 0 }

const mendUnknown = "nobody who is asked here knows the token: see above what each of them found, and configure the one that issued it, or get a token of one that is configured"

var (
	errNoHeader    = Pass(AnyBearer, "there is no Authorization header")
	errOtherScheme = Pass(AnyBearer, "the Authorization header is of another scheme")
	errTooLong     = malformed("the bearer token is longer than 16 KiB", mendLong)
)

type tokens []TokenVerifier

// Tokens returns a [TokenVerifier] that asks all of vs in turn, with the rules
// of [Chain]. A token that none of them knows is refused as an "invalid bearer
// token", with what each of them found. One that is empty, longer than
// [MaxToken], or has white space or a control character is refused unasked.
func Tokens(vs ...TokenVerifier) TokenVerifier { return tokens(vs) }

func (t tokens) VerifyToken(ctx context.Context, token string, audiences []string) (*Result, error) {
	return t.climbToken(ctx, token, audiences, nil)
}

func (t tokens) climbToken(ctx context.Context, token string, audiences []string, l *ladder) (*Result, error) {
	if err := checkForm(token); err != nil {
		l.note(t, nil, err)
		return nil, err
	}
	var room [usual]answer
	said, bad := room[:0], false
	for _, v := range t {
		res, err := v.VerifyToken(ctx, token, audiences)
		err = checked(res, err, v)
		if passed := passedBy(err); len(passed) > 0 { // v is several
			for _, p := range passed {
				l.note(p.by, nil, p.err)
			}
			said = append(said, passed...)
			continue
		}
		l.note(v, res, err)
		if err == nil {
			return res, nil
		}
		bad = bad || refused(err)
		said = append(said, answer{v, err})
	}
	if !bad {
		if l != nil {
			l.note(t, nil, unknownTo(nil))
		}
		return nil, unknownTo(said)
	}
	return nil, together(said)
}

type shortcut struct{ first, all TokenVerifier }

// Shortcut returns a [TokenVerifier] that asks all, but first of all first, which
// is one of those that all asks: one that knows its tokens by heart, and finds
// them faster than anything could that remembers them.
func Shortcut(first, all TokenVerifier) TokenVerifier { return shortcut{first, all} }

func (s shortcut) VerifyToken(ctx context.Context, token string, audiences []string) (*Result, error) {
	// What first has to say against a token, it says again in its turn.
	res, err := s.first.VerifyToken(ctx, token, audiences)
	if err == nil && complete(res) && checkForm(token) == nil {
		return res, nil
	}
	return s.all.VerifyToken(ctx, token, audiences)
}

// checkForm refuses what cannot be a token. Bytes above ASCII may be: static
// tokens are what the operator wrote.
func checkForm(token string) error {
	if token == "" {
		return malformed("the bearer token is empty", mendHeader)
	}
	if len(token) > MaxToken {
		return errTooLong
	}
	if hasControl(inplace.Bytes(token)) {
		return malformed("the bearer token has white space or a control character", mendHeader)
	}
	return nil
}

// hasControl reports whether there is a space or a control character of ASCII in
// text. It looks at eight bytes at a time: the highest bit of one of them is set
// in (x-n) &^ x if and only if a byte of x is below n.
func hasControl(text []byte) bool {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		x := binary.LittleEndian.Uint64(text)
		del := x ^ ones*0x7f
		if ((x-ones*(' '+1))&^x|(del-ones)&^del)&highest != 0 {
			return true
		}
	}
	for _, c := range text {
		if c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}
