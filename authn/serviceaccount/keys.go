package serviceaccount

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/internal/reload"
)

// maxTried is how many keys are tried on a token that names none.
const maxTried = 8

// KeyID returns the kid of a public key, as Kubernetes computes it.
func KeyID(public crypto.PublicKey) (string, error) { return compact.KeyID(public) }

// Keys are the public keys whose tokens are accepted. They can be replaced at
// any time. Make them with [NewKeys] or [OpenKeys].
type Keys struct{ current atomic.Pointer[keySet] }

type keySet struct {
	byID map[string]*compact.Key
	all  []*compact.Key
	// replaced changes when other keys take effect. The stamp is from before
	// that: one that is taken only by who has found the set could be from after.
	replaced *authn.Generation
	inForce  authn.Stamp
}

// NewKeys returns keys for RSA public keys of 2048 to 8192 bits and ECDSA ones
// on P-256, P-384 and P-521. There may be none yet: then no token is accepted.
func NewKeys(public ...crypto.PublicKey) (*Keys, error) {
	k := new(Keys)
	if err := k.Replace(public...); err != nil {
		return nil, err
	}
	return k, nil
}

// A NamedKey is a public key whose tokens name it by an ID of somebody's choice.
type NamedKey struct {
	ID     string
	Public crypto.PublicKey
}

// Replace puts other keys in force, by the IDs of [KeyID]. A token of a key that
// is gone is refused from then on, even if it was verified before. On an error
// nothing changes.
func (k *Keys) Replace(public ...crypto.PublicKey) error {
	var named []NamedKey
	for _, p := range public {
		id, err := KeyID(p)
		if err != nil {
			return err
		}
		named = append(named, NamedKey{id, p})
	}
	return k.ReplaceNamed(named...)
}

// ReplaceNamed is Replace for keys that have IDs of their own.
func (k *Keys) ReplaceNamed(named ...NamedKey) error {
	next := &keySet{byID: map[string]*compact.Key{}, replaced: new(authn.Generation)}
	next.inForce = next.replaced.Stamp()
	for _, n := range named {
		if next.byID[n.ID] != nil {
			continue
		}
		key, err := compact.NewKey(n.ID, n.Public)
		if err != nil {
			return fmt.Errorf("key %s: %w", n.ID, err)
		}
		next.byID[n.ID] = key
		next.all = append(next.all, key)
	}
	if before := k.current.Swap(next); before != nil {
		before.replaced.Bump()
	}
	return nil
}

// verify returns the key that made the signature. Texts are Kubernetes' where it
// has one.
func (s *keySet) verify(t *compact.Token) (*compact.Key, error) {
	if t.KeyID != "" {
		key := s.byID[t.KeyID]
		if key == nil {
			return nil, errNoKeys
		}
		return key, t.Verify(key)
	}
	err, tried := errNoKeys, 0
	for _, key := range s.all {
		if !key.Accepts(t.Algorithm) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if err = t.Verify(key); err == nil {
			return key, nil
		}
	}
	return nil, err
}

var errNoKeys = errors.New("invalid signature, no keys found")

// ParseKeys returns the public keys in a PEM file of public keys, private keys
// and certificates, of which there may be many. Blocks of other kinds are
// skipped, as Kubernetes skips them.
func ParseKeys(data []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for n := 1; ; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		if key == nil {
			continue
		}
		if _, err := compact.NewKey("", key); err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("data does not contain any valid RSA or ECDSA public keys")
	}
	return keys, nil
}

// parseKey returns the public key of a block, or nil if it is of a kind that
// has none. Errors of the parsers are not passed on: they could be about the
// numbers of a private key.
func parseKey(block *pem.Block) (crypto.PublicKey, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("no valid %s", block.Type)
	}
	if private, ok := key.(interface{ Public() crypto.PublicKey }); ok {
		key = private.Public()
	}
	return key, nil
}

// KeyFiles are keys in files that are followed: Kubernetes'
// --service-account-key-file.
type KeyFiles struct {
	*Keys
	files  []*reload.File[[]crypto.PublicKey]
	notify func(error)
	// merging keeps the keys of an older look at the files from replacing those
	// of a newer one.
	merging sync.Mutex
}

// OpenKeys reads PEM files of keys, at least one. Notify, which may be nil, is
// called after each later reading of one of them: with nil once it is in force,
// or with what is wrong.
func OpenKeys(paths []string, notify func(error)) (*KeyFiles, error) {
	if len(paths) == 0 {
		return nil, errors.New("no service account key file")
	}
	k := &KeyFiles{Keys: new(Keys), notify: notify}
	for _, path := range paths {
		file, err := reload.Open(path, ParseKeys, k.changed)
		if err != nil {
			return nil, err
		}
		k.files = append(k.files, file)
	}
	if err := k.merge(); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *KeyFiles) merge() error {
	k.merging.Lock()
	defer k.merging.Unlock()
	var all []crypto.PublicKey
	for _, f := range k.files {
		all = append(all, f.Value()...)
	}
	return k.Replace(all...)
}

func (k *KeyFiles) changed(problem error) {
	if problem == nil {
		problem = k.merge()
	}
	if k.notify != nil {
		k.notify(problem)
	}
}

// Run follows the files until ctx ends.
func (k *KeyFiles) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, f := range k.files {
		all.Go(func() { f.Run(ctx) })
	}
	all.Wait()
}

// Status returns how reading the files has gone so far, in their order.
func (k *KeyFiles) Status() []reload.Status {
	all := make([]reload.Status, len(k.files))
	for i, f := range k.files {
		all[i] = f.Status()
	}
	return all
}
