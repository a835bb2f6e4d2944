package atrest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
)

// sealed is what a stored value begins with that the library has encrypted:
// k8s:enc:PROVIDER:v1:KEY:, where KEY is the name and not the ID.
const sealed = "k8s:enc:"

// A Description is what may be told of a key.
type Description struct {
	ID       ID     `json:"id"`
	Name     string `json:"name"`
	Provider string `json:"provider"`
	// Writes tells that new values of some resource are encrypted with it.
	Writes bool `json:"writes"`
}

// prefix is what the values begin with that the key has encrypted.
func (d Description) prefix() string { return sealed + d.Provider + ":v1:" + d.Name + ":" }

// Wrote reports whether the key, or one with its name, has encrypted a value.
func (d Description) Wrote(value []byte) bool { return strings.HasPrefix(string(value), d.prefix()) }

// IsEncrypted reports whether any key has encrypted a value.
func IsEncrypted(value []byte) bool { return strings.HasPrefix(string(value), sealed) }

// Describe returns the keys in a file in their order.
func Describe(path string) ([]Description, error) {
	cfg, err := read(path)
	if err != nil {
		return nil, err
	}
	var all []Description
	for _, r := range cfg.Resources {
		for i, p := range r.Providers {
			for j, k := range keysOf(p) {
				d := Description{ID: idOf(k), Name: k.Name, Provider: providerOf(p), Writes: i == 0 && j == 0}
				at := slices.IndexFunc(all, func(o Description) bool { return o.ID == d.ID && o.Provider == d.Provider })
				if at < 0 {
					all = append(all, d)
				} else {
					all[at].Writes = all[at].Writes || d.Writes
				}
			}
		}
	}
	return all, nil
}

// Rotate puts a new key in front of those in a file that [Create] made. It
// writes from the next start on, when everything is also written anew; the old
// ones stay for reading. It returns the new key's ID.
func Rotate(path string) (ID, error) {
	cfg, err := read(path)
	if err != nil {
		return "", err
	}
	box, err := secretbox(cfg, path)
	if err != nil {
		return "", err
	}
	key := newKey(time.Now())
	box.Keys = append([]apiserverv1.Key{key}, box.Keys...)
	return idOf(key), write(path, cfg)
}

// Prune removes from a file that [Create] made every key but the one that
// writes, and returns the IDs of those it removed. The caller must know that
// nothing is encrypted with them any more.
func Prune(path string) ([]ID, error) {
	cfg, err := read(path)
	if err != nil {
		return nil, err
	}
	box, err := secretbox(cfg, path)
	if err != nil {
		return nil, err
	}
	var gone []ID
	for _, k := range box.Keys[1:] {
		gone = append(gone, idOf(k))
	}
	if len(gone) == 0 {
		return nil, nil
	}
	box.Keys = box.Keys[:1]
	return gone, write(path, cfg)
}

// secretbox returns the part of a configuration that [Create] has written. One
// that an operator has written is changed by the operator, who knows why the
// providers are in their order.
func secretbox(cfg *apiserverv1.EncryptionConfiguration, path string) (*apiserverv1.SecretboxConfiguration, error) {
	if len(cfg.Resources) == 1 && len(cfg.Resources[0].Providers) == 1 {
		if box := cfg.Resources[0].Providers[0].Secretbox; box != nil && len(box.Keys) > 0 {
			return box, nil
		}
	}
	return nil, fmt.Errorf("%s was not made by gatehouse, or was changed: edit its keys by hand", path)
}

// newKey makes a key of 256 bits, named by the time it was made. The rest of the
// name keeps two of the same second apart, which the library could not.
func newKey(now time.Time) apiserverv1.Key {
	random := make([]byte, 32+2)
	rand.Read(random)
	return apiserverv1.Key{
		Name:   "key-" + now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(random[32:]),
		Secret: base64.StdEncoding.EncodeToString(random[:32]),
	}
}

func keysOf(p apiserverv1.ProviderConfiguration) []apiserverv1.Key {
	switch {
	case p.AESGCM != nil:
		return p.AESGCM.Keys
	case p.AESCBC != nil:
		return p.AESCBC.Keys
	case p.Secretbox != nil:
		return p.Secretbox.Keys
	}
	return nil
}

// providerOf returns the library's name for the provider of [keysOf].
func providerOf(p apiserverv1.ProviderConfiguration) string {
	switch {
	case p.AESGCM != nil:
		return "aesgcm"
	case p.AESCBC != nil:
		return "aescbc"
	}
	return "secretbox"
}
