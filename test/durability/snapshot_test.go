package durability_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"gatehouse.dev/gatehouse/test/env"
)

// facts are what gatehouse snapshot status -o json prints.
type facts struct {
	Hash     string `json:"hash"`
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	SealedBy string `json:"sealedBy"`
	Needs    struct {
		ClientCA          string `json:"clientCA"`
		ServiceAccountKey string `json:"serviceAccountKey"`
		EncryptionKey     string `json:"encryptionKey"`
	} `json:"needs"`
}

func status(t *testing.T, file string) facts {
	t.Helper()
	var f facts
	if err := json.Unmarshal([]byte(succeed(t, "snapshot", "status", file, "-o", "json")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSnapshot saves the store while it is written to, and restores it: with
// the keys, without them, and after somebody has changed it.
func TestSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	token := c.token(t, "default", "default")
	file := filepath.Join(t.TempDir(), "backup.db")

	l := &load{}
	before := saveUnderLoad(t, l, c, s.Kubeconfig, file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the snapshot is %v, %v; want it for the owner alone", info, err)
	}
	f := status(t, file)
	etcds, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil || etcds.Revision != f.Revision || etcds.TotalKey != f.Keys {
		t.Errorf("etcdutl reads %+v, %v; gatehouse %+v", etcds, err, f)
	}
	if f.SealedBy == "" || f.SealedBy != f.Needs.EncryptionKey {
		t.Errorf("the snapshot is sealed by %q and needs %q", f.SealedBy, f.Needs.EncryptionKey)
	}
	t.Run("only who may do everything can save", func(t *testing.T) {
		err := withToken(t, s.Kubeconfig, "", token).do(t.Context(), "POST", "/gatehouse/snapshot", nil, nil)
		if !isRefused(err, 403) {
			t.Errorf("a service account was answered %v", err)
		}
	})
	t.Run("refusals", func(t *testing.T) { refuseRestores(t, file, s.DataDir, f) })

	s.Stop()
	data := filepath.Join(t.TempDir(), "new")
	succeed(t, "snapshot", "restore", file, "--data-dir", data, "--keys-from", s.DataDir)
	refuse(t, []string{"is not empty"}, "snapshot", "restore", file, "--data-dir", data, "--keys-from", s.DataDir)
	restored := env.Start(t, "--data-dir", data)
	c = connect(t, restored.Kubeconfig, "")
	values, revision := l.stored(t, c)
	if revision < 1_000_000_000 {
		t.Errorf("revision %d: what clients remember could mean something else now", revision)
	}
	for w := range l.slots {
		for k, after := range l.slots[w] {
			collection, name := l.path(w, k)
			if got := values[collection+"/"+name]; got < before[w][k].acked || got > after.asked {
				t.Errorf("%s is %d; %d was acknowledged before, and %d asked for after", name, got, before[w][k].acked, after.asked)
			}
		}
	}
	if got := withToken(t, restored.Kubeconfig, "", token).whoami(t); got != "system:serviceaccount:default:default" {
		t.Errorf("a token from before is of %q", got)
	}
}

// saveUnderLoad saves a snapshot while objects are written, and returns what was
// acknowledged before.
func saveUnderLoad(t *testing.T, l *load, c *client, kubeconfig, file string) [writers][keysPerWriter]slot {
	t.Helper()
	enough := func(n int64) {
		eventually(t, time.Minute, "the load", func() error {
			if l.acked.Load() < n {
				return errTooFew
			}
			return nil
		})
	}
	phase := func(during func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.run(ctx, c) }()
		during()
		cancel()
		if err := <-ended; err != nil {
			t.Fatalf("a write was refused: %v", err)
		}
	}
	phase(func() { enough(2 * minAcked) })
	before := l.slots
	phase(func() {
		began := l.acked.Load()
		enough(began + minAcked/4)
		succeed(t, "snapshot", "save", file, "--kubeconfig", kubeconfig)
		enough(l.acked.Load() + minAcked/4)
	})
	return before
}

// refuseRestores tries to restore what must not be, and looks that nothing was
// written.
func refuseRestores(t *testing.T, file, keys string, f facts) {
	without := func(name string) string {
		dir := t.TempDir()
		for _, key := range []string{"ca.crt", "ca.key", "service-account.key", "encryption.yaml"} {
			if key != name {
				copyTo(t, filepath.Join(keys, key), filepath.Join(dir, key))
			}
		}
		return dir
	}
	foreign := func() string {
		dir := without("encryption.yaml")
		text := strings.Replace(env.Read(t, filepath.Join(keys, "encryption.yaml")), "name: key-", "name: kex-", 1)
		env.Write(t, filepath.Join(dir, "encryption.yaml"), text)
		return dir
	}
	changed := func(rehash bool) string {
		data := []byte(env.Read(t, file))
		at := bytes.Index(data, []byte("default/load-0-0"))
		if at < 0 {
			t.Fatal("there is nothing to change")
		}
		data[at+len("default/load-0-")] = '7'
		if rehash {
			sum := sha256.Sum256(data[:len(data)-sha256.Size])
			copy(data[len(data)-sha256.Size:], sum[:])
		}
		path := filepath.Join(t.TempDir(), "changed.db")
		env.Write(t, path, string(data))
		return path
	}
	unsealed := func() string {
		data := []byte(env.Read(t, file))
		data = data[:len(data)-sha256.Size-512]
		sum := sha256.Sum256(data)
		path := filepath.Join(t.TempDir(), "unsealed.db")
		env.Write(t, path, string(append(data, sum[:]...)))
		return path
	}
	for _, tt := range []struct {
		name, file, keys string
		want             []string
	}{
		{"no keys", file, t.TempDir(), []string{f.Needs.ClientCA, f.Needs.ServiceAccountKey, f.Needs.EncryptionKey}},
		{"no encryption key", file, without("encryption.yaml"), []string{"encryption key " + f.Needs.EncryptionKey}},
		{"another encryption key", file, foreign(), []string{"encryption key " + f.Needs.EncryptionKey}},
		{"no signing key", file, without("service-account.key"), []string{"service account key " + f.Needs.ServiceAccountKey}},
		{"no CA", file, without("ca.crt"), []string{"client CA " + f.Needs.ClientCA}},
		{"no key of the CA", file, without("ca.key"), []string{"ca.key"}},
		{"damaged", changed(false), keys, []string{"damaged", "SHA-256"}},
		{"forged", changed(true), keys, []string{"was changed after it was saved"}},
		{"without its seal", unsealed(), keys, []string{"has no seal", "--skip-seal-check"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "new")
			refuse(t, tt.want, "snapshot", "restore", tt.file, "--data-dir", target, "--keys-from", tt.keys)
			if _, err := os.Stat(target); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
	target := filepath.Join(t.TempDir(), "new")
	succeed(t, "snapshot", "restore", unsealed(), "--skip-seal-check", "--data-dir", target, "--keys-from", keys)
	refuse(t, []string{"was changed after"}, "snapshot", "restore", changed(true), "--skip-seal-check", "--data-dir", target+"2", "--keys-from", keys)
}

// TestSecretsAreNotFoundAtRest looks for a Secret in every file that the server
// writes, and in what is saved of it.
func TestSecretsAreNotFoundAtRest(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	const canary, plain = "canary-ahphoo4Eiyah", "plain-uoG7aiGhieJo"
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	c.must(t, "POST", "/api/v1/namespaces/default/secrets", secret("canary", canary), nil)
	c.must(t, "PUT", "/api/v1/namespaces/default/secrets/canary", secret("canary", canary+"2"), nil)
	c.must(t, "POST", "/api/v1/namespaces/default/configmaps", configMap("plain", plain), nil)
	file := filepath.Join(t.TempDir(), "backup.db")
	succeed(t, "snapshot", "save", file, "--kubeconfig", s.Kubeconfig)

	// What is not encrypted must be found, or the search is worth nothing.
	for _, place := range []string{s.DataDir, file} {
		if found(t, place, plain) == "" {
			t.Errorf("a ConfigMap was not found in %s", place)
		}
		for _, text := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:16]} {
			if where := found(t, place, text); where != "" {
				t.Errorf("a Secret stands in %s", where)
			}
		}
	}
	for _, name := range []string{"ca.key", "service-account.key", "encryption.yaml"} {
		for line := range strings.Lines(env.Read(t, filepath.Join(s.DataDir, name))) {
			if line = strings.TrimSpace(line); len(line) > 40 && found(t, file, line) != "" {
				t.Errorf("a part of %s is in the snapshot", name)
			}
		}
	}
	s.Stop()
	if where := found(t, s.DataDir, canary); where != "" {
		t.Errorf("a Secret stands in %s after the stop", where)
	}
}

// TestRotatedKey replaces the key at rest, and drops the old one.
func TestRotatedKey(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other programs")
	}
	t.Parallel()
	s := env.Start(t)
	c := connect(t, s.Kubeconfig, "")
	for _, name := range []string{"a", "b", "c"} {
		c.must(t, "POST", "/api/v1/namespaces/default/secrets", secret(name, "value-"+name), nil)
	}
	want := inventory(t, c)
	succeed(t, "encryption", "rotate", "--data-dir", s.DataDir)
	refuse(t, []string{"another gatehouse process uses it"}, "encryption", "prune", "--data-dir", s.DataDir)
	if keys := keyUses(t, s.DataDir); len(keys) != 2 || keys[0].Values != -1 {
		t.Errorf("while the server runs: %+v", keys)
	}
	s.Stop()
	refuse(t, []string{"still in use"}, "encryption", "prune", "--data-dir", s.DataDir)
	before := keyUses(t, s.DataDir)
	if len(before) != 2 || before[0].Values != 0 || before[1].Values < 3 {
		t.Fatalf("before the restart: %+v, want all under the old key", before)
	}

	s.Restart()
	sameInventory(t, want, inventory(t, connect(t, s.Kubeconfig, "")))
	var after []keyUse
	eventually(t, time.Minute, "that every Secret is under the new key", func() error {
		s.Stop()
		if after = keyUses(t, s.DataDir); after[1].Values == 0 {
			return nil
		}
		s.Restart()
		return errTooFew
	})
	if after[0].ID != before[0].ID || after[0].Values != before[1].Values {
		t.Errorf("after the restart: %+v; before: %+v", after, before)
	}
	succeed(t, "encryption", "prune", "--data-dir", s.DataDir)
	if keys := keyUses(t, s.DataDir); len(keys) != 1 || keys[0].ID != after[0].ID {
		t.Errorf("after the prune: %+v", keys)
	}
	s.Restart()
	sameInventory(t, want, inventory(t, connect(t, s.Kubeconfig, "")))
}

type keyUse struct {
	ID     string `json:"id"`
	Values int    `json:"values"`
}

func keyUses(t *testing.T, data string) []keyUse {
	t.Helper()
	var keys []keyUse
	if err := json.Unmarshal([]byte(succeed(t, "encryption", "status", "--data-dir", data, "-o", "json")), &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

// found returns the first file in which a text stands.
func found(t *testing.T, place, text string) (where string) {
	t.Helper()
	err := filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || where != "" {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			where = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return where
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	env.Write(t, to, env.Read(t, from))
}
