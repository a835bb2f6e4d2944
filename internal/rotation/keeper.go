package rotation

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/flight"
	"gatehouse.dev/gatehouse/internal/keyring"
)

const (
	// confirm is how often the document is read without a reason.
	confirm = 5 * time.Second
	// apart is how far reads are apart at least that tokens of unknown keys ask
	// for, and readLimit is how long one may take.
	apart     = 100 * time.Millisecond
	readLimit = 5 * time.Second
)

// A Store keeps the text of the document, sealed.
type Store interface {
	// Load returns the text as it is now, nil if there is none, its revision, and
	// whether it ought to be written anew.
	Load(ctx context.Context) (text []byte, revision int64, old bool, err error)
	// Save replaces the text of that revision, or returns false.
	Save(ctx context.Context, text []byte, revision int64) (int64, bool, error)
	// Watch calls changed whenever the text may have changed, until ctx is done.
	Watch(ctx context.Context, changed func())
}

// A Config is what a [Keeper] needs.
type Config struct {
	Store Store
	// Promised is for how long others may keep a copy of the key set. It is zero
	// if none is published.
	Promised time.Duration
	// Private returns the private half of a key that is in a file, or nil.
	Private func(id string) crypto.Signer
	// Stored tells whether a Secret holds a token of a key. It has to say yes as
	// long as it does not know.
	Stored func(id string) bool
	// Watches says that this process does not sign with the keys nor moves them
	// on: its own are in files. It only takes part in verifying.
	Watches bool
	// Take puts other keys in force, and has those refused that were withdrawn,
	// wherever else they may be. What it refuses is not signed with either.
	Take func(ring *keyring.Ring, withdrawn []string) error
	// Limit is for how long the keys are believed that were read last. Past it
	// Withhold is called with true, so that nothing is verified with them, and with
	// false once they have been read again. There is no limit if it is zero.
	Limit    time.Duration
	Withhold func(bool) error
	Log      *slog.Logger
}

// A Keeper is the part of one process in the keys of a store. Make one with
// [Open]. It is safe for concurrent use.
type Keeper struct {
	Config
	begun    time.Time
	view     atomic.Pointer[view]
	taking   sync.Mutex // held while a view is put in force, or withheld
	withheld bool       // guarded by taking
	problem  atomic.Pointer[error]
	wake     chan struct{}
	asked    flight.Refresh
	confirms flight.Refresh
}

// A view is the document as this process has it.
type view struct {
	set      Set
	revision int64
	ring     *keyring.Ring
	signs    *Key // in set, or nil
	// confirmed is when it was the store's, in nanoseconds since the keeper was
	// begun: a clock that is set makes it neither older nor younger.
	confirmed atomic.Int64
}

// Open reads the document. If there is none it is begun with the key that first
// returns, or, for one who only watches, left as it is.
func Open(ctx context.Context, c Config, first func() (Key, error)) (*Keeper, error) {
	k := &Keeper{Config: c, begun: time.Now(), wake: make(chan struct{}, 1)}
	k.asked = flight.Refresh{Work: k.read, Every: apart, Limit: readLimit}
	k.confirms = flight.Refresh{Work: k.read, Limit: readLimit}
	for {
		began := time.Now()
		text, revision, old, err := c.Store.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the signing keys: %w", err)
		}
		set, err := parse(text)
		if err != nil {
			return nil, err
		}
		if len(set.Keys) == 0 && !c.Watches {
			key, err := first()
			if err != nil {
				return nil, err
			}
			set.begin(key, now())
			old = true
		}
		if !old {
			return k, k.take(set, revision, began)
		}
		written, ok, err := k.save(ctx, set, revision)
		if err != nil {
			return nil, err
		}
		if ok {
			return k, k.take(set, written, began)
		}
		// Another process was faster; its document is as good.
	}
}

// Set returns the keys as this process knows them. They must not be changed.
func (k *Keeper) Set() Set { return k.view.Load().set }

// Run follows the document and moves it on, until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		k.Store.Watch(ctx, func() {
			select {
			case k.wake <- struct{}{}:
			default:
			}
		})
	})
	every := confirm
	if k.Limit > 0 {
		every = min(every, k.Limit/4)
		watching.Go(func() { k.guard(ctx) })
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		set := k.Set()
		if at := set.next(now()); !k.Watches && !at.IsZero() {
			due.Reset(time.Until(at))
		}
		var err error
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			err = k.confirms.Do(ctx)
		case <-tick.C:
			err = k.confirms.Do(ctx)
		case <-due.C:
			err = k.advance(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.Log.WarnContext(ctx, "following the signing keys", "err", err)
		}
	}
}

// Refresh returns when this process knows what the store knew when it was
// called. It is for tokens of keys that are not known; however many there are,
// the store is asked ten times a second at most.
func (k *Keeper) Refresh(ctx context.Context) error { return k.asked.Do(ctx) }

// advance does what the time has come for.
func (k *Keeper) advance(ctx context.Context) error {
	return k.change(ctx, func(s *Set) (bool, error) { return s.advance(now(), k.Stored), nil })
}

// Rotate adds a key, which signs when every copy of the key set has ended that
// was promised to last, and after wait at the earliest. It returns the key.
func (k *Keeper) Rotate(ctx context.Context, wait time.Duration) (Key, error) {
	if k.Watches {
		return Key{}, ErrFiles
	}
	fresh, err := NewKey()
	if err != nil {
		return Key{}, err
	}
	err = k.change(ctx, func(s *Set) (bool, error) {
		return true, s.publish(fresh, now(), max(wait, k.Wait()))
	})
	return k.named(fresh.ID), err
}

// ErrFiles says that the key that signs is in a file.
var ErrFiles = errors.New("the key that signs is in the file of --service-account-signing-key-file: change the files, which are followed")

// following is how long every process of the store may take to know a new key.
// One that does not asks when it meets the first token of it.
const following = 2 * time.Second

// MaxWait is the longest that somebody may have a key published before it signs:
// no other rotation can begin meanwhile.
const MaxWait = 30 * 24 * time.Hour

// Wait is how long a key is published before it signs.
func (k *Keeper) Wait() time.Duration {
	if k.Promised == 0 {
		return following
	}
	return k.Promised + lag
}

// Retire ends a key none of whose tokens is good any more. The ID may be cut to
// six characters or more.
func (k *Keeper) Retire(ctx context.Context, id string) (Key, error) {
	var ended string
	err := k.change(ctx, func(s *Set) (bool, error) {
		key, err := s.retire(id, now(), k.Stored)
		if err == nil {
			ended = key.ID
		}
		return err == nil, err
	})
	return k.named(ended), err
}

// Withdraw ends a key at once. When it returns, its tokens are refused here, and
// on the other processes of the store as soon as they hear of it.
func (k *Keeper) Withdraw(ctx context.Context, id string) (Key, error) {
	var ended string
	err := k.change(ctx, func(s *Set) (bool, error) {
		key, err := s.withdraw(id, now(), NewKey)
		if err == nil {
			ended = key.ID
		}
		return err == nil, err
	})
	return k.named(ended), err
}

// named returns the key of that ID as it is now.
func (k *Keeper) named(id string) Key {
	set := k.Set()
	if key, err := set.find(id); err == nil {
		return *key
	}
	return Key{}
}

// change writes what do makes of the newest document, and puts it in force here.
func (k *Keeper) change(ctx context.Context, do func(*Set) (bool, error)) error {
	for {
		began := time.Now()
		text, revision, _, err := k.Store.Load(ctx)
		if err != nil {
			return fmt.Errorf("reading the signing keys: %w", err)
		}
		set, err := parse(text)
		if err != nil {
			return err
		}
		changed, err := do(&set)
		if err != nil {
			// What was found may be news.
			return errors.Join(err, k.read(ctx))
		}
		if !changed {
			return k.take(set, revision, began)
		}
		written, ok, err := k.save(ctx, set, revision)
		if err != nil {
			return err
		}
		if ok {
			k.tell(ctx, set)
			return k.take(set, written, began)
		}
	}
}

// tell logs which keys have moved on.
func (k *Keeper) tell(ctx context.Context, set Set) {
	before := map[string]State{}
	if v := k.view.Load(); v != nil {
		for _, key := range v.set.Keys {
			before[key.ID] = key.State
		}
	}
	for _, key := range set.Keys {
		if before[key.ID] != key.State {
			k.Log.InfoContext(ctx, "a signing key has moved on", "key", key.ID, "from", before[key.ID], "to", key.State)
		}
	}
}

func (k *Keeper) save(ctx context.Context, set Set, revision int64) (int64, bool, error) {
	text, err := json.Marshal(set)
	if err != nil {
		return 0, false, fmt.Errorf("encoding the signing keys: %w", err)
	}
	written, ok, err := k.Store.Save(ctx, text, revision)
	if err != nil {
		return 0, false, fmt.Errorf("writing the signing keys: %w", err)
	}
	return written, ok, nil
}

// read brings this process up to date.
func (k *Keeper) read(ctx context.Context) error {
	err := k.load(ctx)
	if err != nil {
		k.problem.Store(&err)
	}
	return err
}

func (k *Keeper) load(ctx context.Context) error {
	began := time.Now()
	text, revision, _, err := k.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("reading the signing keys: %w", err)
	}
	set, err := parse(text)
	if err != nil {
		return err
	}
	return k.take(set, revision, began)
}

// InStore reports whether the private half of the key that signs is in a
// document, so that a process needs no file to sign with it.
func InStore(text []byte) (bool, error) {
	set, err := parse(text)
	if err != nil {
		return false, err
	}
	key := set.in(Signing)
	return key != nil && !key.File, nil
}

// parse reads a document. What it cannot read it does not quote: private keys
// are in it.
func parse(text []byte) (Set, error) {
	var set Set
	if len(text) == 0 {
		return set, nil
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return set, errors.New("the document of signing keys in the store cannot be read")
	}
	return set, nil
}

// now is the time in whole seconds, as the document has it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
