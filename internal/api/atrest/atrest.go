// Package atrest encrypts what is stored.
//
// The keys are in a file of Kubernetes' kind EncryptionConfiguration, the
// operator's own or the one that [Create] makes, and the library does the
// encryption. This package adds names for the keys: an [ID] tells which key a
// store or a snapshot needs without telling anything of the key, so that a
// process with the wrong one stops before it writes. And with keys derived from
// them it authenticates what is saved, see [Keys.Seal].
//
// It refuses a file that it cannot read whole, and tells nothing of what is in
// one when it does.
package atrest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/renameio/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

// kind and apiVersion are what a file says that it is.
const kind, apiVersion = "EncryptionConfiguration", "apiserver.config.k8s.io/v1"

// An ID names an encryption key. It is a hash of 256 random bits and more, so
// nothing of the key can be computed from it.
type ID string

// Keys are the encryption keys of a store.
type Keys struct {
	// Transformers encrypt and decrypt, by resource.
	Transformers map[schema.GroupResource]value.Transformer
	// IDs are the names of the keys, the one that writes first.
	IDs []ID
	// sealing are keys derived from them.
	sealing map[ID][]byte
}

// Load reads the keys from an EncryptionConfiguration. It returns no keys and
// no error if path is empty: nothing is encrypted then. The context ends the
// connections to key management services that the file may name.
func Load(ctx context.Context, path string) (Keys, error) {
	if path == "" {
		return Keys{}, nil
	}
	keys, err := Read(path)
	if err != nil {
		return Keys{}, err
	}
	cfg, err := encryptionconfig.LoadEncryptionConfig(ctx, path, false, "gatehouse")
	if err != nil {
		return Keys{}, fmt.Errorf("reading encryption configuration %s: %w", path, err)
	}
	keys.Transformers = map[schema.GroupResource]value.Transformer{}
	for gr, t := range cfg.Transformers {
		keys.Transformers[gr] = t
	}
	return keys, nil
}

// Check returns what is wrong with the file at path, as [Load] does. It asks no
// key management service: a file that names one is only read.
func Check(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	cfg, err := read(path)
	if err != nil {
		return err
	}
	for _, r := range cfg.Resources {
		for _, p := range r.Providers {
			if p.KMS != nil {
				_, err := Read(path)
				return err
			}
		}
	}
	_, err = Load(ctx, path)
	return err
}

// Create makes an EncryptionConfiguration with one new key for Secrets at path,
// unless there is a file already.
func Create(path string) error {
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return write(path, &apiserverv1.EncryptionConfiguration{
		Resources: []apiserverv1.ResourceConfiguration{{
			Resources: []string{"secrets"},
			Providers: []apiserverv1.ProviderConfiguration{{
				Secretbox: &apiserverv1.SecretboxConfiguration{Keys: []apiserverv1.Key{newKey(time.Now())}},
			}},
		}},
	})
}

// Read reads the keys that are in an EncryptionConfiguration itself, without
// their transformers. Those of a key management service are its own affair.
func Read(path string) (Keys, error) {
	cfg, err := read(path)
	if err != nil {
		return Keys{}, err
	}
	keys := Keys{sealing: map[ID][]byte{}}
	for _, r := range cfg.Resources {
		for _, p := range r.Providers {
			for _, k := range keysOf(p) {
				id := idOf(k)
				if keys.sealing[id] != nil {
					continue
				}
				if keys.sealing[id], err = sealingKey(k); err != nil {
					return Keys{}, fmt.Errorf("encryption configuration %s: %w", path, err)
				}
				keys.IDs = append(keys.IDs, id)
			}
		}
	}
	return keys, nil
}

func write(path string, cfg *apiserverv1.EncryptionConfiguration) error {
	cfg.TypeMeta = metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("encoding encryption configuration: %w", err)
	}
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("writing encryption configuration: %w", err)
	}
	return nil
}

func read(path string) (*apiserverv1.EncryptionConfiguration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading encryption configuration: %w", err)
	}
	var cfg apiserverv1.EncryptionConfiguration
	// The parser's own words may repeat a part of a key.
	if err := yaml.UnmarshalStrict(text, &cfg); err != nil || cfg.Kind != kind || cfg.APIVersion != apiVersion {
		return nil, fmt.Errorf("encryption configuration %s is not of the kind %s of %s", path, kind, apiVersion)
	}
	if strictyaml.One(text) != nil {
		return nil, fmt.Errorf("encryption configuration %s goes on after its first document, where nobody would look for keys: remove the rest", path)
	}
	return &cfg, nil
}

func idOf(k apiserverv1.Key) ID {
	sum := sha256.Sum256([]byte("gatehouse encryption key\x00" + k.Name + "\x00" + k.Secret))
	return ID(hex.EncodeToString(sum[:8]))
}
