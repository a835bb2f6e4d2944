package explain

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/impersonation"
	"gatehouse.dev/gatehouse/internal/pki"
)

const (
	// maxNearest is how many rules are shown that nearly allow a request.
	maxNearest = 5
	// maxRoles is how many roles are shown that would allow it.
	maxRoles = 3
	// tryTimeout bounds how long a credential is judged: the store may be slow.
	tryTimeout = 10 * time.Second
	// maxPEM and maxHeader bound what is asked about, in bytes.
	maxPEM, maxHeader = 128 << 10, 128 << 10
)

// An Explainer answers what operators ask. All fields but those
// that say so must be set.
type Explainer struct {
	Book *Book
	// Authenticator is the chain that judges requests, without what remembers or
	// delays. It is asked in a rehearsal only.
	Authenticator authn.Authenticator
	// Judge, which may be nil, says what was taken back.
	Judge      func(*identity.Identity) error
	Authorizer Authorizer
	// Impersonation says who may act as whom. It is asked in a rehearsal only.
	Impersonation Impersonation
	// Reviewed, which may be nil, decides what reviews are told, where that is not
	// what Authorizer decides.
	Reviewed authz.Authorizer
	// Registered, which may be nil, returns the name of a credential's entry in the
	// register of what was issued, or "" if there is none or nobody can tell.
	Registered func(context.Context, *identity.Credential) string
	// Attributes says what a request asks for.
	Attributes func(*http.Request) (authz.Attributes, error)
}

// An Authorizer decides, and knows the rules that nearly allow, and the roles that
// would, if it decides by roles.
type Authorizer interface {
	authz.Authorizer
	authz.NearFinder
	authz.RoleFinder
}

// Impersonation decides who may act as whom: see [impersonation.Checker].
type Impersonation interface {
	Decide(ctx context.Context, request *authz.Attributes, want *impersonation.Wanted) (*impersonation.Grant, error)
}

// A BadRequest is what cannot be answered because of how it is asked.
type BadRequest string

func (b BadRequest) Error() string { return string(b) }

// Find returns what is known of the requests of an ID or an audit ID.
func (e *Explainer) Find(ctx context.Context, name string) (*Explanation, error) {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, '/') {
		return nil, BadRequest("the name has to be a request ID or an audit ID")
	}
	found, more, err := e.Book.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("looking for records: %w", err)
	}
	lost, err := e.Book.left(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for records: %w", err)
	}
	out := answer(name, found)
	out.Status.More, out.Status.KeptFor, out.Status.NotRecorded = more, e.Book.store.Life().String(), &lost
	if len(found) == 0 {
		out.Status.Message = absence(name, lost, e.Book.store.Life())
	}
	for i := range out.Status.Requests {
		e.asOfNow(ctx, &out.Status.Requests[i])
		e.register(ctx, &out.Status.Requests[i])
	}
	return out, nil
}

func answer(name string, requests []Request) *Explanation {
	if requests == nil {
		requests = []Request{}
	}
	return &Explanation{
		TypeMeta:   metav1.TypeMeta{Kind: Kind, APIVersion: Group + "/" + Version},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     Status{Requests: requests},
	}
}

// asOfNow adds to a denial what the rules say now: those of then are not kept.
func (e *Explainer) asOfNow(ctx context.Context, r *Request) {
	if r.Authorization == nil || r.User == nil {
		return
	}
	var decides authz.Authorizer = e.Authorizer
	if r.Review != nil && e.Reviewed != nil {
		decides = e.Reviewed
	}
	then := *r.Authorization // r may be shared with the book
	e.now(ctx, decides, r.User, &then)
	then.Instead = slices.Clone(then.Instead)
	for i := range then.Instead {
		e.now(ctx, decides, r.User, &then.Instead[i])
	}
	r.Authorization = &then
}

// now adds to one denial of a user what the rules say now.
func (e *Explainer) now(ctx context.Context, decides authz.Authorizer, user *User, of *Authorization) {
	a := attributesOf(&of.Asked, identityOf(user))
	answer, err := decides.Authorize(ctx, a)
	switch {
	case answer.Verdict == authz.Allow:
		of.Now = "allowed"
	case err != nil:
		of.Now = "undecided: " + err.Error()
	default:
		of.Now = "denied"
		e.mend(of, a, answer)
	}
	if user.MoreGroups > 0 {
		of.Now += fmt.Sprintf(" (judged without %d of the groups, which were not recorded)", user.MoreGroups)
	}
}

// register adds where the credential of a request is in the register.
func (e *Explainer) register(ctx context.Context, r *Request) {
	if r.User == nil || e.Registered == nil {
		return
	}
	user := *r.User // r may be shared with the book
	user.Registered = e.Registered(ctx, &identity.Credential{
		Method: identity.Method(user.Method), ID: user.CredentialID, Digest: user.Digest,
	})
	r.User = &user
}

// mend adds to a denial the rules that nearly allow it and, unless somebody was told
// to deny it, the roles that would.
func (e *Explainer) mend(of *Authorization, a *authz.Attributes, answer authz.Answer) {
	for _, n := range e.Authorizer.Nearest(a, maxNearest) {
		of.Nearest = append(of.Nearest, nearestOf(&n))
	}
	subject, ok := subjectOf(a.User)
	if !ok || answer.Verdict == authz.Deny || !proposable(a) {
		return
	}
	roles, ok := e.Authorizer.Roles(a, maxRoles)
	if !ok {
		return
	}
	for _, r := range roles {
		if plain(r.Name, maxName) {
			of.Roles = append(of.Roles, Role{Role: fmt.Sprintf("%s %q", r.Kind, r.Name), Command: bind(&r, a, subject)})
		}
	}
	of.Rule = ruleFor(a)
}

// Try says what would be answered to a credential, and to the request that it
// would come with. Nothing is sent anywhere.
func (e *Explainer) Try(ctx context.Context, spec *Spec) (*Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	// Nothing may be remembered for the connection of who asks.
	conn := &authn.Conn{Peer: authn.PeerFrom(ctx)}
	r, err := requestOf(authn.Rehearsal(authn.WithConn(ctx, conn)), spec)
	if err != nil {
		return nil, err
	}
	var asked *authz.Attributes
	if spec.AsRequest != nil {
		a, err := e.Attributes(r)
		if err != nil {
			return nil, BadRequest("spec.asRequest: " + err.Error())
		}
		asked = &a
	}
	out := Request{Code: http.StatusUnauthorized}
	res, ladder, err := authn.Trace(e.Authenticator, r)
	out.Ladder = withoutProxy(r.Header, ladderOf(ladder))
	if err == nil && e.Judge != nil {
		if err = e.Judge(res.Identity); err != nil {
			out.User = userOf(res.Identity)
			out.Ladder = append(out.Ladder, ladderOf(authn.Ladder(err))...)
		}
	}
	if err == nil {
		out.Code, out.User = http.StatusOK, userOf(res.Identity)
	}
	if asked != nil {
		out.Method, out.Path = r.Method, cut(r.URL.Path, maxPath)
		if err == nil {
			if err := e.proceed(ctx, &out, r.Header, asked, res.Identity); err != nil {
				return nil, err
			}
		}
	}
	e.register(ctx, &out)
	return answer("", []Request{out}), nil
}

// withoutProxy puts before a ladder what nobody on it says: that the headers of an
// authenticating proxy do not count where none is configured.
func withoutProxy(h http.Header, ladder []Rung) []Rung {
	if slices.ContainsFunc(ladder, func(r Rung) bool { return r.Method == string(identity.FrontProxy) }) {
		return ladder
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, "X-Remote-") {
			return append([]Rung{{
				Method: string(identity.FrontProxy), Found: string(authn.Passed),
				Reason: "the header " + name + " does not count: no authenticating proxy is configured",
				Mend:   "name the CA of the proxy with --requestheader-client-ca-file, and its headers, or send a credential instead",
			}}, ladder...)
		}
	}
	return ladder
}

// proceed takes the steps behind who is calling: as whom, and may they?
func (e *Explainer) proceed(ctx context.Context, out *Request, h http.Header, a *authz.Attributes, caller *identity.Identity) error {
	want, err := impersonation.Read(h)
	if err != nil {
		out.Code, out.Ladder = http.StatusBadRequest, append(out.Ladder, ladderOf(authn.Ladder(err))...)
		return nil
	}
	if want == nil {
		e.decide(ctx, out, a, caller)
		return nil
	}
	a.User = caller
	grant, err := e.Impersonation.Decide(ctx, a, want)
	if refusal, ok := errors.AsType[*impersonation.Refusal](err); ok {
		e.refuseToAct(out, refusal)
		return nil
	}
	if err != nil {
		return fmt.Errorf("deciding about impersonation: %w", err)
	}
	out.User = userOf(grant.Identity)
	if e.Judge != nil {
		if err := e.Judge(grant.Identity); err != nil {
			out.Code, out.Ladder = http.StatusUnauthorized, append(out.Ladder, ladderOf(authn.Ladder(err))...)
			return nil
		}
	}
	e.decide(ctx, out, a, grant.Identity)
	return nil
}

// refuseToAct says that a caller may not act as whom he wants to.
func (e *Explainer) refuseToAct(out *Request, refusal *impersonation.Refusal) {
	out.Code = http.StatusForbidden
	for i, l := range Lacking(refusal) {
		lack := Authorization{Asked: askedOf(l.Asked), Reason: l.Reason}
		e.mend(&lack, l.Asked, authz.Answer{Verdict: l.Verdict})
		if i > 0 {
			out.Authorization.Instead = append(out.Authorization.Instead, lack)
			continue
		}
		if refusal.Cause != nil {
			lack.Error = refusal.Cause.Error()
		}
		out.Authorization = &lack
	}
}

// decide takes the step from who is calling to what he may do.
func (e *Explainer) decide(ctx context.Context, r *Request, a *authz.Attributes, who *identity.Identity) {
	a.User = who
	answer, err := e.Authorizer.Authorize(ctx, a)
	r.Authorization = &Authorization{Allowed: answer.Verdict == authz.Allow, Asked: askedOf(a), Reason: answer.Reason()}
	switch {
	case answer.Verdict == authz.Allow:
	case err != nil:
		r.Code, r.Authorization.Error = http.StatusInternalServerError, err.Error()
	default:
		r.Code = http.StatusForbidden
		e.mend(r.Authorization, a, answer)
	}
}

// requestOf returns the request that would be made.
func requestOf(ctx context.Context, s *Spec) (*http.Request, error) {
	if s.Token == "" && s.Certificate == "" && len(s.Headers) == 0 {
		return nil, BadRequest("there is nothing to judge: give spec.token, spec.certificate or spec.headers")
	}
	method, path := http.MethodGet, "/"
	if s.AsRequest != nil {
		method, path = s.AsRequest.Method, s.AsRequest.Path
	}
	address, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return nil, BadRequest("spec.asRequest.path has to begin with a slash and be the path of a URL")
	}
	r, err := http.NewRequestWithContext(ctx, method, address.String(), http.NoBody)
	if err != nil {
		return nil, BadRequest("spec.asRequest.method is no method of HTTP")
	}
	if r.Header, err = headerOf(s); err != nil {
		return nil, err
	}
	for name := range r.Header {
		if s.AsRequest == nil && impersonation.Claims(name) {
			return nil, BadRequest("spec.headers has " + name + ", and who may act as whom depends on what for: give spec.asRequest too")
		}
	}
	r.TLS, err = connectionOf(s)
	return r, err
}

func headerOf(s *Spec) (http.Header, error) {
	h, size := http.Header{}, 0
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) { // one may be spelt in two ways
		key := textproto.CanonicalMIMEHeaderKey(name)
		for _, v := range s.Headers[name] {
			h.Add(key, v)
			size += len(key) + len(v)
		}
	}
	if size > maxHeader {
		return nil, BadRequest(fmt.Sprintf("spec.headers has %d bytes: no request has more than %d", size, maxHeader))
	}
	if s.Token == "" {
		return h, nil
	}
	if len(h["Authorization"]) > 0 {
		return nil, BadRequest("spec.token and the header Authorization are both given: give one")
	}
	h["Authorization"] = []string{"Bearer " + s.Token}
	return h, nil
}

// connectionOf returns that of a client with the certificate.
func connectionOf(s *Spec) (*tls.ConnectionState, error) {
	if s.Certificate == "" {
		return &tls.ConnectionState{}, nil
	}
	if len(s.Certificate) > maxPEM {
		return nil, BadRequest(fmt.Sprintf("spec.certificate has %d bytes: at most %d are read", len(s.Certificate), maxPEM))
	}
	certs, err := pki.ParseCertificates([]byte(s.Certificate))
	if err != nil {
		return nil, BadRequest("spec.certificate: " + err.Error())
	}
	return &tls.ConnectionState{PeerCertificates: certs}, nil
}
