// Package snapshot knows the files that a store is saved in.
//
// A file is what etcd streams, the database and its SHA-256, so that etcdutl
// reads it too. Between the two there is a block that says when it was begun, and
// has a [Seal], which authenticates that and the database with an encryption key of
// the store. A hash shows that a file is
// damaged; only the seal shows that somebody has changed it, who could have made
// himself an administrator.
//
// The package refuses a file that is not whole, or not what its hash says. It
// decides nothing about seals and keys: it says what a file has and needs.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
)

// lockTimeout is how long another program may hold the file, as etcdutl does
// while it reads it.
const lockTimeout = 5 * time.Second

// ErrDamaged is wrapped by the errors about a file that is not whole or not
// what its hash says.
var ErrDamaged = errors.New("damaged")

// A File is a snapshot that has been read and found whole.
type File struct {
	Path string
	// Size is that of the file in bytes.
	Size int64
	// Time is when it was begun, or zero if etcd has saved it itself.
	Time time.Time
	// Digest is what Seal authenticates, which is nil if there is none.
	Digest []byte
	Seal   *Seal
	// Revocations counts what had been revoked.
	Revocations epoch.Count
	// Revision is the last one of the store, and Keys how many keys it held.
	Revision int64
	Keys     int
	// Version is that of etcd's storage.
	Version string
	// Claim names the keys that the store was written with, if Claimed.
	Claim   etcd.Claim
	Claimed bool
}

// Read reads the snapshot at path and checks its hash. It does not change it.
func Read(path string) (*File, error) {
	f := &File{Path: path}
	if err := f.verify(); err != nil {
		return nil, err
	}
	if err := f.look(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) damaged(format string, args ...any) error {
	return fmt.Errorf("%s is %w: %s", f.Path, ErrDamaged, fmt.Sprintf(format, args...))
}

// verify checks the hash and finds the seal.
func (f *File) verify() error {
	file, err := os.Open(f.Path)
	if err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	f.Size = info.Size()
	if !info.Mode().IsRegular() || f.Size <= sealSize+sha256.Size || f.Size%sealSize != sha256.Size {
		return f.damaged("a size of %d bytes is not that of a whole snapshot", f.Size)
	}
	database, whole := sha256.New(), sha256.New()
	tail := make([]byte, sealSize+sha256.Size)
	if _, err := io.CopyN(io.MultiWriter(database, whole), file, f.Size-int64(len(tail))); err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	if _, err := io.ReadFull(file, tail); err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	block, sum := tail[:sealSize], tail[sealSize:]
	whole.Write(block)
	if !bytes.Equal(whole.Sum(nil), sum) {
		return f.damaged("its SHA-256 is not the one at its end")
	}
	b, err := parseBlock(block)
	if err != nil {
		return f.damaged("%v", err)
	}
	if b != nil {
		f.Time, f.Seal, f.Digest = b.Time, b.Seal, digestOf(database.Sum(nil), b.Time)
	}
	return nil
}

// look reads what the database holds. A database that is made up can lead the
// reader out of the file, which must end the reading and not the process.
func (f *File) look() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = f.damaged("the database in it cannot be read")
		}
	}()
	db, err := bolt.Open(f.Path, 0o400, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return f.damaged("the database in it cannot be read: %v", err)
	}
	defer db.Close()
	return db.View(f.scan)
}

func (f *File) scan(tx *bolt.Tx) error {
	if v := schema.ReadStorageVersionFromSnapshot(tx); v != nil {
		f.Version = v.String()
	}
	bucket := tx.Bucket(schema.Key.Name())
	if bucket == nil {
		return f.damaged("it is no database of etcd")
	}
	live := map[string]bool{}
	kept := map[string][]byte{etcd.ClaimKey: nil, epoch.Key: nil}
	err := bucket.ForEach(func(k, v []byte) error {
		// The keys are revisions, in their order.
		f.Revision = max(f.Revision, mvcc.BytesToRev(k).Main)
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(v, &kv); err != nil {
			return f.damaged("revision %d cannot be read", f.Revision)
		}
		gone := mvcc.IsTombstone(k)
		switch key := string(kv.Key); {
		case key == "": // a mark that a restore has left
		case gone:
			delete(live, key)
		default:
			live[key] = true
		}
		if _, ours := kept[string(kv.Key)]; ours {
			kept[string(kv.Key)] = kv.Value // nil if it is gone
		}
		return nil
	})
	if f.Keys = len(live); err != nil {
		return err
	}
	if count := kept[epoch.Key]; count != nil {
		if f.Revocations, err = epoch.Parse(count); err != nil {
			return err
		}
	}
	claim := kept[etcd.ClaimKey]
	if f.Claimed = claim != nil; !f.Claimed {
		return nil
	}
	f.Claim, err = etcd.ParseClaim(claim)
	return err
}
