package server

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"gatehouse.dev/gatehouse/authn/serviceaccount"
	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/document"
	"gatehouse.dev/gatehouse/internal/externaljwt"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/openid"
	"gatehouse.dev/gatehouse/internal/rotation"
)

// A tokenKeys is the keys of service account tokens: those in files, and those in
// the store.
type tokenKeys struct {
	// keeper has those in the store. It is nil where the store could only keep
	// them in plain text.
	keeper *rotation.Keeper
	// external is another program that signs, and has all the keys then. It is
	// nil if there is none.
	external *externaljwt.Signer
	// managed says that the store has the key that signs.
	managed bool
	// verify are the keys that tokens are verified with, and live is the ring
	// that is published, and that signs if the files do.
	verify *serviceaccount.Keys
	live   *keyring.Live

	mu        sync.Mutex // guards what follows
	files     *keyring.Ring
	stored    *keyring.Ring
	withdrawn []string
	withheld  bool
}

// takeFiles puts other files in force.
func (k *tokenKeys) takeFiles(ring *keyring.Ring) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.take(ring, k.stored, k.withdrawn)
}

// takeStored puts other keys of the store in force.
func (k *tokenKeys) takeStored(ring *keyring.Ring, withdrawn []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.take(k.files, ring, withdrawn)
}

// withhold has no token accepted of a key of the store, or of those again that
// are good. What is published stays: others verify by it on their own account.
func (k *tokenKeys) withhold(yes bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.withheld = yes
	return k.take(k.files, k.stored, k.withdrawn)
}

// take first has tokens of new keys accepted, and then lets them sign.
func (k *tokenKeys) take(files, stored *keyring.Ring, withdrawn []string) error {
	first, second := files, stored
	if k.managed {
		first, second = stored, files
	}
	if first == nil {
		first, second = second, nil
	}
	if first == nil {
		return nil // the others are about to come
	}
	ring := first.With(second).Without(withdrawn...)
	believed := ring
	if k.withheld {
		believed = new(keyring.Ring).With(files).Without(withdrawn...)
	}
	if err := k.verify.Replace(publicKeys(believed)...); err != nil {
		return err
	}
	k.live.Replace(ring)
	k.files, k.stored, k.withdrawn = files, stored, withdrawn
	return nil
}

// Sign implements [issuing.Signer].
func (k *tokenKeys) Sign(ctx context.Context, claims any, expires time.Time) (string, error) {
	if k.external != nil {
		return k.external.Sign(ctx, claims)
	}
	if k.managed {
		return k.keeper.Sign(ctx, claims, expires)
	}
	return k.live.Ring().Sign(claims)
}

// refresh is what is done when a token names a key that is not known.
func (k *tokenKeys) refresh() func(context.Context) error {
	if k.external != nil {
		return k.external.Refresh
	}
	if k.keeper == nil {
		return nil
	}
	return k.keeper.Refresh
}

// openSigning opens the keys in the store, and adds them to those in files.
func (s *Server) openSigning(ctx context.Context) error {
	m := s.material
	keys, err := serviceaccount.NewKeys()
	if err != nil {
		return err
	}
	if s.cfg.ServiceAccounts.SigningEndpoint != "" {
		return s.openSigner(ctx, keys)
	}
	// A process with other keys at rest is told so before it fails to read.
	stored, err := etcd.Claimed(ctx, s.client)
	if err != nil {
		return err
	}
	others := m.claim
	others.Signing = stored.Signing
	if err := others.Hold(ctx, s.client); err != nil {
		return err
	}
	k := &tokenKeys{managed: s.cfg.ServiceAccounts.SigningKeyFile == "", verify: keys, live: new(keyring.Live), files: m.files}
	s.signing = k
	k.keeper, err = rotation.Open(ctx, rotation.Config{
		Store: &document.Document{Client: s.client, Key: rotation.StoreKey, Sealer: m.atRest.Sealer()},
		Private: func(id string) crypto.Signer {
			if m.own != nil && m.own.Keys()[0].ID == id {
				return m.own.Private()
			}
			return nil
		},
		Promised: s.promised(), Stored: s.storesToken, Watches: !k.managed, Take: k.takeStored,
		Limit: s.believed(), Withhold: k.withhold, Log: s.log,
	}, s.firstKey(ctx))
	switch {
	case errors.Is(err, atrest.ErrPlain) && m.own != nil:
		s.log.Info("the key of service account tokens cannot be rotated by command, because Secrets are stored in plain text")
		k.keeper, k.managed = nil, false
		return k.takeFiles(m.own.With(m.files))
	case errors.Is(err, atrest.ErrPlain):
		return fmt.Errorf("keeping the keys of service account tokens: %w: encrypt them, or give --service-account-signing-key-file", err)
	case errors.Is(err, rotation.ErrNoPrivate):
		return fmt.Errorf("%w: %w", etcd.ErrForeign, err)
	case err != nil:
		return err
	}
	m.claim.Signing = s.signingIDs(m.files)
	return k.takeFiles(m.files)
}

// believed is for how long keys are believed that cannot be read any more, zero
// for ever.
func (s *Server) believed() time.Duration {
	if s.cfg.Storage.ServeStale {
		return 0
	}
	return time.Duration(s.cfg.Storage.MaxStaleness)
}

// stale returns why nobody is known by a key of the store at now, or nil.
func (k *tokenKeys) stale(now time.Time) error {
	if k.keeper == nil {
		return nil
	}
	return k.keeper.Stale(now)
}

// promised is for how long others may keep the key set.
func (s *Server) promised() time.Duration {
	if s.cfg.ServiceAccounts.Discoverable() {
		return openid.MaxAge
	}
	return 0
}

// firstKey returns what makes the first key of a store: that of the data
// directory, if there is one. What it has signed before is only known of a store
// that nobody has used.
func (s *Server) firstKey(ctx context.Context) func() (rotation.Key, error) {
	return func() (rotation.Key, error) {
		if s.material.own == nil {
			return rotation.NewKey()
		}
		key, err := rotation.Of(s.material.own.Keys()[0].Public)
		if err != nil {
			return key, err
		}
		claim, err := etcd.Claimed(ctx, s.client)
		key.File, key.Unknown = true, len(claim.Signing) > 0
		return key, err
	}
}

// fileIDs are the keys of the store whose private half is, or was, in a file. A
// restore needs that file.
func (k *tokenKeys) fileIDs() []string {
	var all []string
	if k.keeper == nil {
		return nil
	}
	for _, key := range k.keeper.Set().Keys {
		if key.File {
			all = append(all, key.ID)
		}
	}
	return all
}

// signingIDs names the keys that are in files, that which signs first: the ones
// that a process needs to take the place of this one.
func (s *Server) signingIDs(files *keyring.Ring) []string {
	if s.cfg.ServiceAccounts.SigningKeyFile != "" {
		return ids(files) // what the store has beside them is another's to sign with
	}
	var all []string
	for _, id := range slices.Concat(ids(s.material.own), s.signing.fileIDs(), ids(files)) {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// storesToken tells whether a Secret holds a token of a key. It says yes until
// it knows all Secrets.
func (s *Server) storesToken(id string) bool {
	if s.objects == nil || s.objects.informers.secrets == nil || !s.objects.informers.secrets.HasSynced() {
		return true
	}
	for _, obj := range s.objects.informers.secrets.GetIndexer().List() {
		secret, ok := obj.(*corev1.Secret)
		if ok && secret.Type == corev1.SecretTypeServiceAccountToken && keyOfToken(secret.Data[corev1.ServiceAccountTokenKey]) == id {
			return true
		}
	}
	return false
}

// keyOfToken returns the kid of a token.
func keyOfToken(token []byte) string {
	text, _, _ := strings.Cut(string(token), ".")
	header, err := base64.RawURLEncoding.DecodeString(text)
	var named struct {
		KeyID string `json:"kid"`
	}
	if err != nil || json.Unmarshal(header, &named) != nil {
		return ""
	}
	return named.KeyID
}

// refuseWithdrawn returns an error if the key in a file was withdrawn.
func (k *tokenKeys) refuseWithdrawn(id, file string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Contains(k.withdrawn, id) {
		return fmt.Errorf("the key %s in %s was withdrawn: make another one", id, file)
	}
	return nil
}
