package etcd

import (
	"fmt"
	"log/slog"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// revisionBump is how far a restored store is ahead of its snapshot, so that no
// revision is ever used for two things. It is what a thousand writes a second
// come to in eleven days; etcd's own documentation gives it as the example.
const revisionBump = 1_000_000_000

// Restore makes the data of [Start] in dir, which must not exist, of the
// snapshot in file. It checks the hash at the end of the file. What clients
// remember of revisions is void then: they are told that those are compacted,
// and read everything again.
func Restore(file, dir string, log *slog.Logger) error {
	cfg := configuration(dir, log)
	var peers []string
	for _, u := range cfg.AdvertisePeerUrls {
		peers = append(peers, u.String())
	}
	err := snapshot.NewV3(zapLogger(log)).Restore(snapshot.RestoreConfig{
		SnapshotPath:        file,
		Name:                cfg.Name,
		OutputDataDir:       dir,
		PeerURLs:            peers,
		InitialCluster:      cfg.InitialCluster,
		InitialClusterToken: cfg.InitialClusterToken,
		RevisionBump:        revisionBump,
		MarkCompacted:       true,
	})
	if err != nil {
		return fmt.Errorf("restoring %s: %w", file, err)
	}
	return nil
}
