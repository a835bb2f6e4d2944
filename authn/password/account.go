package password

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/passhash"
	"gatehouse.dev/gatehouse/internal/tarpit"
)

// A hash is what is kept of a password.
type hash interface{ Matches(password string) bool }

// An account is one user of one file. It stays the same over readings of the
// file, as long as what they say of the user does.
type account struct {
	identity *identity.Identity
	file     string
	where    string // in the file: the line or record
	hash     hash
	// work is what it takes to compare, or the zero value for next to nothing.
	work passhash.Work
	// print tells the hash from others.
	print string

	// inForce ends when the file says something else of the user, and stamps are
	// of it.
	inForce authn.Generation
	stamps  []authn.Stamp

	// failures are those of strangers.
	failures tarpit.Due
	peers    atomic.Pointer[[]visit]
}

func newAccount(file string, l *line, groups []string) *account {
	a := &account{
		identity: &identity.Identity{
			Name: l.name, UID: l.uid, Groups: identity.WithAuthenticated(l.name, groups),
			Credential: identity.Credential{Method: identity.Password, ID: "USER=" + l.name},
		},
		file: file, where: l.where, hash: l.hash, work: l.work, print: l.print,
	}
	a.stamps = []authn.Stamp{a.inForce.Stamp()}
	return a
}

// says reports whether a and b are the same to whoever logs in.
func (a *account) says(b *account) bool {
	return a.print == b.print && a.identity.UID == b.identity.UID && slices.Equal(a.identity.Groups, b.identity.Groups)
}

const (
	// mostVisits is how many peers an account remembers. Only who knows the
	// password can have one forgotten.
	mostVisits = 8
	// lately is for how long a peer is known after the user logged in from it.
	lately = 24 * time.Hour
	// oftenEnough is how old a visit may be before it is written down anew.
	oftenEnough = time.Hour
)

// A visit is a peer from which the user has logged in.
type visit struct {
	peer netip.Addr
	at   time.Time
}

// knows reports whether the user has logged in from peer of late.
func (a *account) knows(peer netip.Addr, now time.Time) bool {
	v, ok := a.visit(peer)
	return ok && now.Sub(v.at) < lately
}

func (a *account) visit(peer netip.Addr) (visit, bool) {
	if visits := a.peers.Load(); visits != nil {
		for _, v := range *visits {
			if v.peer == peer {
				return v, true
			}
		}
	}
	return visit{}, false
}

// welcome remembers that the user has logged in from peer. Of two at the same
// time one may be forgotten: the next request brings it back.
func (a *account) welcome(peer netip.Addr, now time.Time) {
	if v, ok := a.visit(peer); ok && now.Sub(v.at) < oftenEnough {
		return
	}
	next := []visit{{peer, now}}
	if visits := a.peers.Load(); visits != nil {
		for _, v := range *visits { // the latest first
			if v.peer != peer && len(next) < mostVisits {
				next = append(next, v)
			}
		}
	}
	a.peers.Store(&next)
}

// reserved begins the names that no password may stand for.
const reserved = "system:"

// reservedName returns the first name among name and groups that is reserved, or
// "".
func reservedName(name string, groups []string) string {
	if strings.HasPrefix(name, reserved) {
		return name
	}
	if i := slices.IndexFunc(groups, func(g string) bool { return strings.HasPrefix(g, reserved) }); i >= 0 {
		return groups[i]
	}
	return ""
}
