// Package rotation replaces the key that signs tokens of service accounts while
// the tokens of the old one go on being good.
//
// The one idea: a key has a state, and time alone moves it on.
//
//	published → signing → verifying → retired
//
// A key is published, so that everybody comes to know it; it signs when every
// copy of the key set that was promised to last has ended; the one before it
// then only verifies, until the last token that it has signed has expired; and
// then it is retired, and its private half is gone. So no token that is good is
// refused at any moment, and nobody has to watch the clock. For that a key knows
// the longest life of a token that it may have signed, which is written down
// before such a token is signed.
//
// The keys are one document in the store, which all processes follow and any of
// them moves on; each change is based on the one before it, so two processes
// never move it in different ways.
//
// It refuses a second rotation while one is on its way, to retire a key whose
// tokens are good, to sign by a view of the document that is older than ten
// seconds, and to have anything verified by one that is older than the limit. A key that must not be trusted any more is withdrawn: that is at once,
// and its tokens are refused.
package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// StoreKey is where in the store the document is. It is not below the prefix of
// the objects, so no request of the API reads it.
const StoreKey = "/gatehouse/signing-keys"

// A State is where a key is in its life.
type State string

// The states. Withdrawn is the end of a key that was taken back.
const (
	Published State = "published"
	Signing   State = "signing"
	Verifying State = "verifying"
	Retired   State = "retired"
	Withdrawn State = "withdrawn"
)

const (
	// stale is how old the view of a process may be that signs, and lag is how
	// long after the end of a key's signing some process may yet sign with it,
	// with its clock off by as much again.
	stale = 10 * time.Second
	lag   = time.Minute
	// leeway is how long after its expiry a token is taken, as clocks differ.
	leeway = time.Minute
	// kept is how many keys are remembered that are retired.
	kept = 32
)

// A Key is one key of a [Set].
type Key struct {
	// ID is the kid of its tokens, and Algorithm what it signs with.
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	// Public is the PKIX form. Private is the PKCS 8 form; it is empty once the
	// key has ended, and while it is in a file.
	Public  []byte `json:"public"`
	Private []byte `json:"private,omitempty"`
	// File says that the private half was never in the store.
	File  bool  `json:"file,omitempty"`
	State State `json:"state"`
	// Created is when it was published, Signs from when it may sign, or has,
	// Stopped when it ceased to, and Ended when it was retired or withdrawn.
	Created time.Time `json:"created"`
	Signs   time.Time `json:"signs"`
	Stopped time.Time `json:"stopped,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Longest is the longest life, in seconds, of a token that it may have
	// signed. Endless says that it has signed tokens that are kept in Secrets and
	// never expire, and Unknown that it was used before its use was written down.
	Longest int64 `json:"longest,omitempty"`
	Endless bool  `json:"endless,omitempty"`
	Unknown bool  `json:"unknown,omitempty"`
}

// Lives reports whether the tokens of the key are good.
func (k *Key) Lives() bool { return k.State != Retired && k.State != Withdrawn }

// Ends returns when the last token that expires has, of a key that does not sign
// any more.
func (k *Key) Ends() time.Time {
	return k.Stopped.Add(lag + time.Duration(k.Longest)*time.Second + leeway)
}

// end takes the private half away.
func (k *Key) end(state State, now time.Time) { k.State, k.Ended, k.Private = state, now, nil }

// A Set is all keys, in the order in which they came.
type Set struct {
	Keys []Key `json:"keys"`
}

// Errors that say that the time for something has not come.
var (
	ErrUnderWay = errors.New("a rotation is under way")
	ErrUnknown  = errors.New("there is no such key")
	ErrInUse    = errors.New("tokens of the key are good")
	ErrEnded    = errors.New("the key has ended")
	// ErrNoPrivate is met by a process that was started with other files.
	ErrNoPrivate = errors.New("the private half of a service account key is in none of the files of this process")
)

// in returns the first key that is in a state, or nil.
func (s *Set) in(state State) *Key {
	for i := range s.Keys {
		if s.Keys[i].State == state {
			return &s.Keys[i]
		}
	}
	return nil
}

// find returns the key called id, or the only one whose ID begins so.
func (s *Set) find(id string) (*Key, error) {
	var found []*Key
	for i := range s.Keys {
		switch {
		case s.Keys[i].ID == id:
			return &s.Keys[i], nil
		case len(id) >= 6 && len(s.Keys[i].ID) > len(id) && s.Keys[i].ID[:len(id)] == id:
			found = append(found, &s.Keys[i])
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%w: %q is the ID of %d keys", ErrUnknown, id, len(found))
	}
	return found[0], nil
}

// withdrawn returns the IDs of the keys that were taken back.
func (s *Set) withdrawn() []string {
	var ids []string
	for _, k := range s.Keys {
		if k.State == Withdrawn {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// begin makes key the one that signs, in a set without any.
func (s *Set) begin(key Key, now time.Time) {
	key.State, key.Created, key.Signs = Signing, now, now
	s.Keys = append(s.Keys, key)
}

// publish adds the key that will sign after wait.
func (s *Set) publish(key Key, now time.Time, wait time.Duration) error {
	if under := s.in(Published); under != nil {
		return fmt.Errorf("%w: key %s signs from %s on", ErrUnderWay, under.ID, under.Signs.UTC().Format(time.RFC3339))
	}
	key.State, key.Created, key.Signs = Published, now, now.Add(wait)
	s.Keys = append(s.Keys, key)
	return nil
}

// advance does what the time has come for, and returns whether that was
// anything. stored tells whether a Secret holds a token of a key.
func (s *Set) advance(now time.Time, stored func(id string) bool) bool {
	changed := false
	if next := s.in(Published); next != nil && !now.Before(next.Signs) {
		s.sign(next, now)
		changed = true
	}
	for i := range s.Keys {
		if k := &s.Keys[i]; k.State == Verifying && k.over(now, stored) {
			k.end(Retired, now)
			changed = true
		}
	}
	return s.forget() || changed
}

// sign makes next the key that signs, and the one before it only verify.
func (s *Set) sign(next *Key, now time.Time) {
	if old := s.in(Signing); old != nil {
		old.State, old.Stopped = Verifying, now
	}
	next.State, next.Signs = Signing, now
}

// over reports whether no token of a key that verifies is good any more.
func (k *Key) over(now time.Time, stored func(id string) bool) bool {
	return !k.Unknown && !now.Before(k.Ends()) && !(k.Endless && stored(k.ID))
}

// forget drops the oldest of many keys that are retired. Those of files stay:
// the file may turn up again. So do those that were withdrawn, however long the
// last good token of them is over: somebody else may have the private half, and
// makes tokens of it that end when he likes. They are refused by these entries
// where a file of another process has the public half, as a copy of the key set.
func (s *Set) forget() bool {
	extra := -kept
	for _, k := range s.Keys {
		if k.State == Retired && !k.File {
			extra++
		}
	}
	if extra <= 0 {
		return false
	}
	s.Keys = slices.DeleteFunc(s.Keys, func(k Key) bool {
		gone := extra > 0 && k.State == Retired && !k.File
		if gone {
			extra--
		}
		return gone
	})
	return true
}

// next returns when there is something to advance, or zero if never. For what
// waits for Secrets to go it is in a while.
func (s *Set) next(now time.Time) time.Time {
	var soonest time.Time
	for i := range s.Keys {
		k := &s.Keys[i]
		at := time.Time{}
		switch {
		case k.State == Published:
			at = k.Signs
		case k.State == Verifying && !k.Unknown:
			if at = k.Ends(); k.Endless && at.Before(now.Add(recheck)) {
				at = now.Add(recheck)
			}
		}
		if !at.IsZero() && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	return soonest
}

// recheck is how often it is asked whether Secrets still hold tokens of a key.
const recheck = time.Minute

// retire ends a key whose tokens are not good any more, or that never signed.
func (s *Set) retire(id string, now time.Time, stored func(id string) bool) (*Key, error) {
	k, err := s.find(id)
	switch {
	case err != nil:
		return nil, err
	case !k.Lives():
		return nil, fmt.Errorf("%w: it is %s since %s", ErrEnded, k.State, k.Ended.UTC().Format(time.RFC3339))
	case k.State == Signing:
		return nil, fmt.Errorf("%w: it is the one that signs; rotate first", ErrInUse)
	case k.State == Verifying && k.Unknown:
		return nil, fmt.Errorf("%w: nobody wrote down what it signed before the server kept account", ErrInUse)
	case k.State == Verifying && now.Before(k.Ends()):
		return nil, fmt.Errorf("%w until %s, when it is retired by itself", ErrInUse, k.Ends().UTC().Format(time.RFC3339))
	case k.State == Verifying && !k.over(now, stored):
		return nil, fmt.Errorf("%w: Secrets hold tokens of it that do not expire; delete these Secrets, and it is retired by itself", ErrInUse)
	}
	k.end(Retired, now)
	return k, nil
}

// withdraw ends a key whatever its tokens. If it was the one that signs, the one
// that is published does so at once, or else fresh.
func (s *Set) withdraw(id string, now time.Time, fresh func() (Key, error)) (*Key, error) {
	k, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if !k.Lives() {
		return nil, fmt.Errorf("%w: it is %s since %s", ErrEnded, k.State, k.Ended.UTC().Format(time.RFC3339))
	}
	signed := k.State == Signing
	k.end(Withdrawn, now)
	id = k.ID
	if signed {
		if s.in(Published) == nil {
			key, err := fresh()
			if err != nil {
				return nil, err
			}
			if err := s.publish(key, now, 0); err != nil {
				return nil, err
			}
		}
		s.sign(s.in(Published), now)
	}
	return s.find(id) // it may have moved
}

// raise writes down that a key may have signed tokens that live for so many
// seconds, or for ever, and returns whether that is news.
func (s *Set) raise(id string, seconds int64, endless bool) (bool, error) {
	k, err := s.find(id)
	if err != nil {
		return false, err
	}
	if k.State != Signing {
		return false, fmt.Errorf("%w: it is %s", errNotSigning, k.State)
	}
	if k.covers(seconds, endless) {
		return false, nil
	}
	k.Endless = k.Endless || endless
	k.Longest = max(k.Longest, step(seconds))
	return true, nil
}

// errNotSigning is met by a process that did not know yet.
var errNotSigning = errors.New("the key does not sign any more")

// covers reports whether a token with such a life changes nothing.
func (k *Key) covers(seconds int64, endless bool) bool {
	return seconds <= k.Longest && (!endless || k.Endless)
}

// step rounds a life up, so that few tokens of a key cause a write: to an hour
// and a little, six, a day, a month, a year, and then to whole years.
func step(seconds int64) int64 {
	const hour, day, year = 3600, 24 * 3600, 365 * 24 * 3600
	for _, most := range []int64{0, hour, hour + 60, 6 * hour, day, 30 * day} {
		if seconds <= most {
			return most
		}
	}
	return (seconds + year - 1) / year * year
}
