package atrest

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
)

// sealPurpose separates what is derived here from the keys that encrypt.
const sealPurpose = "gatehouse snapshot seal v1"

// ErrSeal is returned by [Keys.CheckSeal] if the digest has another seal.
var ErrSeal = errors.New("the seal is not that of this content")

// Seal returns the ID of the key that writes, and what authenticates digest
// with it: HMAC-SHA-256 under a key derived by HKDF. The ID is "" if there is no
// key to do it with.
func (k Keys) Seal(digest []byte) (ID, []byte) {
	if len(k.IDs) == 0 {
		return "", nil
	}
	return k.IDs[0], code(k.sealing[k.IDs[0]], digest)
}

// CheckSeal returns an error unless the key named id, which must be one of k,
// has sealed digest.
func (k Keys) CheckSeal(id ID, digest, seal []byte) error {
	key, ok := k.sealing[id]
	if !ok {
		return fmt.Errorf("encryption key %s is not among those given", id)
	}
	if !hmac.Equal(seal, code(key, digest)) {
		return ErrSeal
	}
	return nil
}

func code(key, digest []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(digest)
	return mac.Sum(nil)
}

func sealingKey(k apiserverv1.Key) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(k.Secret)
	if err != nil || len(secret) < 16 {
		// The cause is left out: it is about the inside of the key.
		return nil, fmt.Errorf("key %q is not base64 of 16 bytes or more", k.Name)
	}
	return hkdf.Key(sha256.New, secret, nil, sealPurpose, sha256.Size)
}
