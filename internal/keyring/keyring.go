// Package keyring holds the keys of service account tokens: the one that signs
// them, and those that verify them.
//
// A [Ring] lends signatures, and lists public keys; the private key leaves only
// to be kept where the keys rotate. A token names its key by an ID that is a hash of the key itself, as in
// Kubernetes (pkg/serviceaccount/jwt.go), so rings loaded from the same files on
// different replicas, or by a kube-apiserver, agree on it.
//
// It refuses RSA keys below 2048 bits, keys that Kubernetes could not sign or
// verify with, encrypted keys, and files with a PEM block that it cannot read:
// a key left out in silence would turn away good tokens later.
package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"gatehouse.dev/gatehouse/internal/jose"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// FileName is the name of the signing key in a data directory.
const FileName = "service-account.key"

// A Key verifies tokens.
type Key struct {
	// ID is the unpadded URL-safe base64 of the SHA-256 of the key's PKIX form.
	ID string
	// Public is an *rsa.PublicKey or an *ecdsa.PublicKey.
	Public crypto.PublicKey
	// Algorithm is what the key signs with: RS256, ES256, ES384 or ES512.
	Algorithm string
}

// A Ring is a set of keys, of which one may sign. It never changes, and is safe
// for concurrent use.
type Ring struct {
	signer  *jose.Signer // nil if no key may sign
	private crypto.Signer
	keys    []Key // if one may sign, it is the first
	listed  bool  // the one that signs is in a file of those that verify
}

// Open returns the ring of the key in a data directory. If there is none it
// makes one, on the curve P-256, for the owner of the process to read only. Two
// processes must not open one directory at the same time.
func Open(dir string) (*Ring, error) {
	path := filepath.Join(dir, FileName)
	data, err := wholefile.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening signing key: %w", err)
	}
	return parseRing(path, data)
}

// New returns the ring of a new key, which is kept nowhere else.
func New() (*Ring, error) {
	data, err := generate()
	if err != nil {
		return nil, fmt.Errorf("making signing key: %w", err)
	}
	return parseRing("the new key", data)
}

// create makes a key and writes it to path. It returns what it wrote.
func create(path string) ([]byte, error) {
	data, err := generate()
	if err != nil {
		return nil, err
	}
	return data, wholefile.Write(path, data, 0o600)
}

// generate makes a key, on the curve P-256. The form is SEC 1, because
// kube-apiserver reads it both for signing and verifying, and the newer PKCS 8
// only for signing.
func generate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Load returns the ring of the keys in the given PEM files. signingFile holds
// the private key that signs, and may be "" for a ring that only verifies;
// verificationFiles hold any number of public keys, or private ones or
// certificates that stand for theirs. The signing key verifies too, whether it
// is among them or not.
func Load(signingFile string, verificationFiles ...string) (*Ring, error) {
	return load(wholefile.Read, signingFile, verificationFiles)
}

func load(read func(path string) ([]byte, error), signingFile string, verificationFiles []string) (*Ring, error) {
	ring := new(Ring)
	if signingFile != "" {
		data, err := read(signingFile)
		if err != nil {
			return nil, fmt.Errorf("reading signing key: %w", err)
		}
		if ring, err = parseRing(signingFile, data); err != nil {
			return nil, err
		}
	}
	for _, path := range verificationFiles {
		data, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("reading verification keys: %w", err)
		}
		entries, err := parse(path, data)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			ring.listed = ring.listed || ring.signer != nil && e.key.ID == ring.keys[0].ID
			ring.add(e.key)
		}
	}
	if len(ring.keys) == 0 {
		return nil, errNoFile
	}
	return ring, nil
}

// parseRing returns the ring of the one private key in data. Everything else in
// there verifies.
func parseRing(path string, data []byte) (*Ring, error) {
	entries, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	private := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.private == nil })
	if len(private) != 1 {
		return nil, fmt.Errorf("%s has %d private keys: a signing key file must have one; move those that only verify to another file", path, len(private))
	}
	ring := new(Ring)
	if ring.signer, err = jose.NewSigner(private[0].private, private[0].key.ID); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ring.private = private[0].private
	ring.add(private[0].key)
	for _, e := range entries {
		ring.add(e.key)
	}
	return ring, nil
}

// Compose returns the ring of keys that are in no file. Signer, which may be nil,
// signs.
func Compose(signer crypto.Signer, public ...crypto.PublicKey) (*Ring, error) {
	ring := new(Ring)
	if signer != nil {
		key, err := KeyOf(signer.Public())
		if err != nil {
			return nil, err
		}
		if ring.signer, err = jose.NewSigner(signer, key.ID); err != nil {
			return nil, err
		}
		ring.private = signer
		ring.add(key)
	}
	for _, p := range public {
		key, err := KeyOf(p)
		if err != nil {
			return nil, err
		}
		ring.add(key)
	}
	return ring, nil
}

// With returns a ring that signs as r does and verifies with the keys of others
// too. Nil rings have none.
func (r *Ring) With(others ...*Ring) *Ring {
	all := &Ring{signer: r.signer, private: r.private, keys: slices.Clone(r.keys), listed: r.listed}
	for _, o := range others {
		if o == nil {
			continue
		}
		for _, key := range o.keys {
			all.add(key)
		}
	}
	return all
}

// Without returns a ring that does not verify with the keys of those IDs.
func (r *Ring) Without(ids ...string) *Ring {
	less := &Ring{signer: r.signer, private: r.private, listed: r.listed}
	for _, key := range r.keys {
		if !slices.Contains(ids, key.ID) {
			less.keys = append(less.keys, key)
		}
	}
	return less
}

// Private returns the private half of the key that signs, or nil.
func (r *Ring) Private() crypto.Signer { return r.private }

// add adds key, unless it is there.
func (r *Ring) add(key Key) {
	if len(r.Find(key.ID)) == 0 {
		r.keys = append(r.keys, key)
	}
}

// Keys returns all keys that verify. The caller may change the slice.
func (r *Ring) Keys() []Key { return slices.Clone(r.keys) }

// Find returns the keys to try on a token whose header names the key id: that
// key if the ring has it, and none if not. A token that names no key may be of
// any, so all keys are returned for "". The caller must not change the slice.
func (r *Ring) Find(id string) []Key {
	if id == "" {
		return r.keys
	}
	for i := range r.keys {
		if r.keys[i].ID == id {
			return r.keys[i : i+1]
		}
	}
	return nil
}

// Signs reports whether the ring has a key that signs.
func (r *Ring) Signs() bool { return r.signer != nil }

// Listed reports whether the key that signs is also in one of the files of keys
// that verify: those that replicas, and this one after the next rotation, go by.
func (r *Ring) Listed() bool { return r.listed }

// Sign returns claims as a compact token, signed with the ring's private key.
func (r *Ring) Sign(claims any) (string, error) {
	if r.signer == nil {
		return "", errors.New("no signing key: name one with --service-account-signing-key-file")
	}
	return r.signer.Sign(claims)
}

// Set returns the public keys as a JSON web key set, for others to verify with.
func (r *Ring) Set() ([]byte, error) {
	public := make([]jose.Key, 0, len(r.keys))
	for _, key := range r.keys {
		public = append(public, jose.Key{ID: key.ID, Public: key.Public})
	}
	return jose.MarshalSet(public)
}

// Algorithms returns, sorted, what the keys sign with, as the discovery document
// lists it.
func (r *Ring) Algorithms() []string {
	var all []string
	for _, key := range r.keys {
		all = append(all, key.Algorithm)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// KeyOf returns public as a Key. Its algorithm is a question of type and curve,
// asked here so that every other package may rely on the answer.
func KeyOf(public crypto.PublicKey) (Key, error) {
	alg, err := jose.Algorithm(public)
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, err
	}
	sum := sha256.Sum256(der)
	return Key{
		ID:        base64.RawURLEncoding.EncodeToString(sum[:]),
		Public:    public,
		Algorithm: alg,
	}, nil
}
