package offline_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/epoch"
	"gatehouse.dev/gatehouse/internal/etcd/snapshot"
	"gatehouse.dev/gatehouse/internal/server/offline"
)

var saved = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// saveStore returns a snapshot of a store in which five changes were made to what
// is revoked, three of which revoked something.
func saveStore(t *testing.T) string {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := (etcd.Claim{}).Hold(t.Context(), e.Client()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client().Put(t.Context(), epoch.Key, `{"epoch":5,"revoked":3,"changed":"2026-05-01T11:00:00Z"}`); err != nil {
		t.Fatal(err)
	}
	stream, err := e.Client().Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	path := filepath.Join(t.TempDir(), "backup.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := snapshot.Copy(file, stream, saved, func([]byte) *snapshot.Seal { return nil }); err != nil {
		t.Fatal(err)
	}
	return path
}

// A restore that would let somebody in again is refused as far as anything shows
// that it would, and what nothing shows is said.
func TestRestoreLooksForRevocations(t *testing.T) {
	backup := saveStore(t)
	evidence := func(changes, revoked int64, seen time.Duration) *epoch.Evidence {
		return &epoch.Evidence{Count: epoch.Count{Epoch: changes, Revoked: revoked, Changed: saved.Add(seen)}, Seen: saved.Add(seen)}
	}
	for _, tt := range []struct {
		name     string
		evidence *epoch.Evidence // or nil, for none
		accept   bool
		doubt    string // what is told, or the error
		refused  bool
		kept     bool // the evidence is that of the new directory
	}{
		{name: "nothing was revoked since", evidence: evidence(5, 3, time.Hour), kept: true},
		{name: "no evidence", doubt: "nothing shows whether anything was revoked after 2026-05-01T12:00:00Z: there is no file"},
		{name: "evidence from before", evidence: evidence(5, 3, -time.Minute), doubt: "nothing shows whether anything was revoked after 2026-05-01T12:00:00Z", kept: true},
		{name: "evidence that knows less", evidence: evidence(4, 3, -time.Hour), doubt: "nothing shows", kept: true},
		{name: "one was lifted since", evidence: evidence(6, 3, time.Hour), doubt: "are in force again: 1", kept: true},
		{name: "one was revoked since", evidence: evidence(6, 4, time.Hour), doubt: "1 were made after 2026-05-01T12:00:00Z, the last at 2026-05-01T13:00:00Z", refused: true},
		{name: "one was revoked and lifted since", evidence: evidence(7, 4, time.Hour), doubt: "1 were made after", refused: true},
		{name: "accepted", evidence: evidence(9, 6, time.Hour), accept: true, doubt: "as was accepted: 3 after 2026-05-01T12:00:00Z"},
		{name: "accepted without need", evidence: evidence(5, 3, time.Hour), accept: true, kept: true},
	} {
		for _, named := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, ", named: ", named), func(t *testing.T) {
				keys, dir := t.TempDir(), filepath.Join(t.TempDir(), "data")
				r := &offline.Restore{Snapshot: backup, DataDir: dir, KeysFrom: keys, SkipSeal: true, AcceptLost: tt.accept, Log: slog.New(slog.DiscardHandler)}
				if tt.evidence != nil {
					if err := tt.evidence.Write(filepath.Join(keys, epoch.FileName)); err != nil {
						t.Fatal(err)
					}
				}
				if named {
					r.EpochFile, r.KeysFrom = filepath.Join(keys, epoch.FileName), ""
				}
				file, err := r.Run()
				if tt.refused || named && tt.evidence == nil {
					if err == nil || tt.refused && (!errors.Is(err, offline.ErrRevoked) || !strings.Contains(err.Error(), tt.doubt)) {
						t.Errorf("not refused, but %v", err)
					}
					if _, err := os.Stat(dir); err == nil {
						t.Error("something was made")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if file.Doubt != tt.doubt && (tt.doubt == "" || !strings.Contains(file.Doubt, tt.doubt)) {
					t.Errorf("doubt %q", file.Doubt)
				}
				if got, err := epoch.ReadFile(filepath.Join(dir, epoch.FileName)); err != nil || (got != nil) != tt.kept {
					t.Errorf("the new directory has %+v, %v", got, err)
				}
			})
		}
	}
}
