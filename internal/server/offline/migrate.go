package offline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gatehouse.dev/gatehouse/internal/api/atrest"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/document"
	"gatehouse.dev/gatehouse/internal/etcd/migration"
	"gatehouse.dev/gatehouse/internal/keyring"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
	"gatehouse.dev/gatehouse/internal/rotation"
)

// servingAuthority is the name that a server without a data directory gives to
// the authority of its serving certificate.
const servingAuthority = "serving-ca"

// A Migration moves an embedded store into an etcd cluster.
type Migration struct {
	DataDir string
	To      etcd.External
	// Prefix is that of the objects on both sides.
	Prefix string
	// Given are the keys that the server of the directory was given by its
	// flags; the others are in the directory.
	Given Keys
	// KeysTo is a folder that is made with all the keys, for the servers of
	// the cluster.
	KeysTo   string
	Progress func(done, total int)
	Log      *slog.Logger

	// inStore says that the key that signs tokens is in the store.
	inStore bool
}

// Run copies the store, and leaves the directory as it is: nothing but the
// operator keeps it from being served again.
func (m *Migration) Run(ctx context.Context) (migration.Result, error) {
	var none migration.Result
	if err := holdsStore(m.DataDir); err != nil {
		return none, err
	}
	dir, err := etcd.Open(m.DataDir)
	if err != nil {
		return none, err
	}
	defer dir.Close()
	from, err := etcd.Start(ctx, dir.Join(storeDir), m.Log)
	if err != nil {
		return none, err
	}
	defer from.Close()
	stored, err := etcd.Claimed(ctx, from.Client())
	if err != nil {
		return none, err
	}
	keys := m.Given.over(keysIn(dir.Path))
	if err := keys.fit(stored); err != nil {
		return none, err
	}
	if m.inStore, err = signsInStore(ctx, from.Client(), keys.Encryption); err != nil {
		return none, err
	}
	to, err := etcd.Connect(ctx, m.To, m.Log)
	if err != nil {
		return none, err
	}
	defer to.Close()
	if err := m.collect(dir.Path, keys); err != nil {
		return none, err
	}
	return (&migration.Migration{From: from.Client(), To: to, Prefix: m.Prefix, Progress: m.Progress}).Run(ctx)
}

// signsInStore reports whether the key that signs tokens has been rotated, so
// that it is in the store and in no file.
func signsInStore(ctx context.Context, client *clientv3.Client, encryption string) (bool, error) {
	keys, err := atrest.Load(ctx, encryption)
	if err != nil {
		return false, err
	}
	text, _, _, err := (&document.Document{Client: client, Key: rotation.StoreKey, Sealer: keys.Sealer()}).Load(ctx)
	if err != nil {
		return false, err
	}
	return rotation.InStore(text)
}

// collect makes the folder of keys. The authority of the directory also signs
// the serving certificates of the new servers, so that clients that trust it go
// on doing so.
func (m *Migration) collect(dir string, keys Keys) error {
	if err := os.MkdirAll(m.KeysTo, 0o700); err != nil {
		return fmt.Errorf("making the folder of keys: %w", err)
	}
	for _, f := range []struct {
		from, to string
		perm     os.FileMode
	}{
		{keys.Signing, keyring.FileName, 0o600},
		{keys.Encryption, encryptionFile, 0o600},
		{filepath.Join(dir, authorityKey), servingAuthority + ".key", 0o600},
		{filepath.Join(dir, authorityCert), servingAuthority + ".crt", 0o644},
	} {
		if f.from == "" || absent(f.from) {
			continue
		}
		if err := copyFile(f.from, filepath.Join(m.KeysTo, f.to), f.perm); err != nil {
			return err
		}
	}
	return m.collectClientCAs(dir, keys)
}

// collectClientCAs writes one file of the directory's own authority and of those
// that were given.
func (m *Migration) collectClientCAs(dir string, keys Keys) error {
	files := []string{keys.ClientCA}
	if own := keysIn(dir).ClientCA; own != "" && own != keys.ClientCA {
		files = []string{own, keys.ClientCA}
	}
	var bundle []byte
	for _, file := range files {
		data, err := wholefile.Read(file)
		if err != nil {
			return fmt.Errorf("reading client CA: %w", err)
		}
		bundle = append(bundle, data...)
	}
	return writeNew(filepath.Join(m.KeysTo, authorityCert), bundle, 0o644)
}

// Flags returns the flags of gatehouse serve that name the cluster and the
// folder of keys.
func (m *Migration) Flags() []string {
	var flags []string
	add := func(name, value string) {
		if value != "" {
			flags = append(flags, "--"+name+"="+value)
		}
	}
	for _, s := range m.To.Servers {
		add("etcd-servers", s)
	}
	add("etcd-cafile", m.To.CAFile)
	add("etcd-certfile", m.To.CertFile)
	add("etcd-keyfile", m.To.KeyFile)
	add("etcd-prefix", m.Prefix)
	add("client-ca-file", filepath.Join(m.KeysTo, authorityCert))
	if !m.inStore {
		add("service-account-signing-key-file", filepath.Join(m.KeysTo, keyring.FileName))
		add("service-account-key-file", filepath.Join(m.KeysTo, keyring.FileName))
	}
	add("encryption-provider-config", filepath.Join(m.KeysTo, encryptionFile))
	add("cert-dir", m.KeysTo)
	return flags
}
