// Package password authenticates by a user name and a password in the
// Authorization header of a request: Basic authentication (RFC 7617), against
// files that are followed.
//
// Two kinds of files are read: Kubernetes' former --basic-auth-file
// ([OpenCSV]), and Apache's htpasswd with its file of groups ([OpenHtpasswd],
// [OpenGroups]).
//
// The one idea: a guess costs who guesses, and nobody else. Comparing a password
// takes a tenth of a second of a processor, so what was compared is remembered
// for an hour or until its line changes, few are compared at the same time, and
// peers take turns. Whether a name is known or not, the same work is done. Those
// who fail are made to wait, never locked out; and a peer from which a user has
// logged in of late waits for nobody's failures.
//
// It refuses a file with a reserved name (system:), a hash that is not bcrypt or
// argon2id, and headers that are not exactly Basic, a space and base64 of UTF-8
// without control characters. Names and passwords are compared as they are sent:
// case, white space and forms of Unicode count.
package password

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/flight"
)

const (
	// remembered is how many passwords that were compared are kept in mind.
	remembered = 4096
	// remember is for how long: it bounds for how long anything about a password
	// is kept that is quick to compare with.
	remember = time.Hour
	// patience is for how long a password waits for its turn: as long as the
	// patience of most clients.
	patience = time.Minute
)

// An Authenticator authenticates requests by Basic authentication.
type Authenticator struct {
	sources []*Source
	table   *verified.Table[login, *login]
	guard   *guard
	flights flight.Group[sent, *authn.Result]

	right, wrong atomic.Uint64
}

// What one peer has sent.
type sent struct {
	pair verified.Key
	peer netip.Addr
}

// A login is a password that was compared, and good.
type login struct {
	authn.Result
	account *account
}

// New returns an authenticator of the passwords in sources. If a name is in
// several, the first decides alone.
func New(sources ...*Source) (*Authenticator, error) {
	table, err := verified.NewTable[login](remembered)
	if err != nil {
		return nil, fmt.Errorf("making the table of compared passwords: %w", err)
	}
	return &Authenticator{sources: sources, table: table, guard: newGuard()}, nil
}

// Describe implements [authn.Described].
func (a *Authenticator) Describe() (identity.Method, string) {
	var files []string
	for _, s := range a.sources {
		files = append(files, s.path)
	}
	return identity.Password, strings.Join(files, ", ")
}

// Authenticate implements [authn.Authenticator].
func (a *Authenticator) Authenticate(r *http.Request) (*authn.Result, error) {
	p, err := read(r.Header)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if authn.IsRehearsal(ctx) {
		return a.rehearse(p)
	}
	peer := authn.PeerFrom(ctx)
	// A name has no colon, so the pair as it was sent has one meaning.
	key := a.table.Key(string(identity.Password), p.sent, nil)
	if known := a.recall(key, peer); known != nil {
		return known, nil
	}
	return a.compare(ctx, peer, p, key)
}

// recall returns what was found out before about a pair, or nil.
func (a *Authenticator) recall(key verified.Key, peer netip.Addr) *authn.Result {
	now := time.Now()
	l := a.table.Lookup(key, now)
	if l == nil {
		return nil
	}
	l.account.welcome(peer, now)
	return &l.Result
}

// compare finds out whether the password is right. However often a peer sends the
// same pair at the same time, it is one attempt.
func (a *Authenticator) compare(ctx context.Context, peer netip.Addr, p pair, key verified.Key) (*authn.Result, error) {
	if !a.guard.inside.Join(peer) {
		return nil, unlooked(errors.New("too many requests of this peer wait for their password to be compared"))
	}
	defer a.guard.inside.Leave(peer)
	res, err := a.flights.Do(ctx, sent{key, peer}, patience, func(ctx context.Context) (*authn.Result, error) {
		return a.attempt(ctx, peer, p, key)
	})
	if err != nil && err == context.Cause(ctx) {
		return nil, unlooked(fmt.Errorf("waiting: %w", err))
	}
	return res, err
}

// attempt waits for its turn, and compares the password.
func (a *Authenticator) attempt(ctx context.Context, peer netip.Addr, p pair, key verified.Key) (*authn.Result, error) {
	if known := a.recall(key, peer); known != nil {
		return known, nil // by an attempt that has just ended
	}
	try, err := a.guard.enter(ctx, peer, p.name, a.find(p.name))
	if err != nil {
		return nil, unlooked(err)
	}
	account := a.find(p.name) // the file may have changed meanwhile
	if !a.matches(account, p.password) {
		a.wrong.Add(1)
		try.failed(ctx)
		if account == nil {
			return nil, unknown()
		}
		return nil, account.refuse(authn.BadProof, "wrong password of user %q (%s)")
	}
	a.right.Add(1)
	try.succeeded()
	now := time.Now()
	l := &login{account: account, Result: authn.Result{
		Identity: account.identity, Until: now.Add(remember), Rests: account.stamps,
	}}
	if !l.Fresh(now) {
		return nil, account.refuse(authn.Revoked, "user %q (%s) was changed or removed while the password was compared")
	}
	account.welcome(peer, now)
	return &a.table.Store(key, l, now).Result, nil
}

// rehearse compares a password that nobody has presented, and neither remembers
// nor counts it. Whoever asks for that bounds how many are compared.
func (a *Authenticator) rehearse(p pair) (*authn.Result, error) {
	account := a.find(p.name)
	switch {
	case a.matches(account, p.password):
		return &authn.Result{Identity: account.identity, Rests: account.stamps}, nil
	case account == nil:
		return nil, unknown()
	}
	return nil, account.refuse(authn.BadProof, "wrong password of user %q (%s)")
}

// unlooked refuses a password that was not compared.
func unlooked(why error) error {
	return &authn.Refusal{Method: identity.Password, Reason: "the password was not looked at", Cause: why, Facts: authn.Facts{
		Kind: authn.Throttled,
		Mend: "find out who sends so many requests with a password from this address; it passes by itself when they end",
	}}
}

// unknown refuses a name that nobody has. It does not repeat the name, which may
// be a password in the wrong place.
func unknown() error {
	return &authn.Refusal{Method: identity.Password, Reason: "no password file has this user name", Facts: authn.Facts{
		Kind: authn.Unknown,
		Mend: "correct the user name, in which case and white space count, or add its line to a password file",
	}}
}

// refuse refuses a password for the account. The reason has room for the name and
// the place in the file.
func (a *account) refuse(kind authn.Kind, reason string) error {
	return &authn.Refusal{
		Method: identity.Password, Source: a.file, Reason: fmt.Sprintf(reason, a.identity.Name, a.where),
		Facts: authn.Facts{Kind: kind, Mend: "correct the password where it is sent from, or replace its line in the file"},
	}
}

// find returns the account of a name, or nil.
func (a *Authenticator) find(name string) *account {
	for _, s := range a.sources {
		if account := s.current.Load().accounts[name]; account != nil {
			return account
		}
	}
	return nil
}

// matches compares a password with that of an account, which may be nil. Unless
// it is the right one, the work is the same for every account and for none: one
// comparison of each kind that the files have.
func (a *Authenticator) matches(account *account, password string) bool {
	if account != nil && account.hash.Matches(password) {
		return true
	}
	compared := account != nil
	for _, s := range a.sources {
		for _, d := range s.current.Load().decoys {
			if compared && d.work == account.work {
				compared = false // with one of its kind, before
				continue
			}
			d.hash.Matches(password) // no password is a decoy's
		}
	}
	return false
}

// Stats is what there was to do so far.
type Stats struct {
	// Waiting are the requests whose password is compared, or is going to be.
	Waiting int
	// Right and Wrong count the passwords that were compared.
	Right, Wrong uint64
}

// Stats returns what there was to do so far.
func (a *Authenticator) Stats() Stats {
	return Stats{Waiting: a.guard.inside.Count(), Right: a.right.Load(), Wrong: a.wrong.Load()}
}
