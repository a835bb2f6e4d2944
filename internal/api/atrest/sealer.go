package atrest

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/value"
)

// ErrPlain says that Secrets are not encrypted, so that nothing may be kept that
// is worth as much.
var ErrPlain = errors.New("the encryption configuration leaves Secrets in plain text")

// A Sealer encrypts what is kept beside the objects as if it were a Secret.
type Sealer struct{ transformer value.Transformer }

// Sealer returns what seals with the keys of Secrets.
func (k Keys) Sealer() Sealer {
	return Sealer{k.Transformers[schema.GroupResource{Resource: "secrets"}]}
}

// Seal encrypts what is kept at a key. It is ErrPlain if Secrets are not
// encrypted.
func (s Sealer) Seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	if s.transformer == nil {
		return nil, ErrPlain
	}
	sealed, err := s.transformer.TransformToStorage(ctx, plain, value.DefaultContext(key))
	if err == nil && !IsEncrypted(sealed) {
		return nil, ErrPlain
	}
	return sealed, err
}

// Open decrypts what [Sealer.Seal] has encrypted for the same key. Old is true if
// it ought to be sealed anew.
func (s Sealer) Open(ctx context.Context, key string, sealed []byte) (plain []byte, old bool, err error) {
	if s.transformer == nil || !IsEncrypted(sealed) {
		return nil, false, ErrPlain
	}
	return s.transformer.TransformFromStorage(ctx, sealed, value.DefaultContext(key))
}
