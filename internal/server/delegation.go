package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"gatehouse.dev/gatehouse/internal/delegation"
	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
)

// A Delegation sets up an API server that asks this one, with the authority in
// the data directory.
type Delegation struct {
	// DataDir is that of the server, which may be running or not.
	DataDir string
	// Cluster is the name of the API server's cluster.
	Cluster string
	// Server is the URL of this server, or "" for where it was reached last.
	Server string
	// Output is where the files are written, or "" to only return them.
	Output string
	// Directory is where the API server finds them.
	Directory string
	CacheTTL  time.Duration
	Lifetime  time.Duration
}

// Make issues the API server's certificate, and returns the files with it and
// what people have to know. Before the key leaves the process, who made it is
// in the directory's own audit log. A file that is there is never replaced.
func (d Delegation) Make() ([]delegation.File, string, error) {
	name, err := issuing.WebhookName(d.Cluster)
	if err != nil {
		return nil, "", err
	}
	authority, err := ownAuthority(d.DataDir)
	if err != nil {
		return nil, "", err
	}
	url, err := lastURL(d.DataDir, d.Server)
	if err != nil {
		return nil, "", err
	}
	client := &delegation.Client{Name: name, Server: url, Authority: authority.PEM(), Directory: d.Directory, CacheTTL: d.CacheTTL}
	if err := errors.Join(client.Check(), d.vacant()); err != nil {
		return nil, "", err
	}
	cert, err := issuing.Webhook(authority, d.Cluster, d.Lifetime)
	if err != nil {
		return nil, "", err
	}
	client.Certificate, client.Key, client.Until = cert.PEM, cert.Key, cert.Certificate.NotAfter
	files, err := client.Files()
	if err != nil {
		return nil, "", err
	}
	text, err := client.Guide()
	if err != nil {
		return nil, "", err
	}
	owner, err := user.Current()
	if err != nil {
		return nil, "", fmt.Errorf("finding out who asks: %w", err)
	}
	if err := record(d.DataDir, owner, "gatehouse webhook config "+d.Cluster, name, client.Until); err != nil {
		return nil, "", err
	}
	if err := spool(d.DataDir, authority, cert, ofOwner(owner)); err != nil {
		return nil, "", err
	}
	return files, text, d.write(files)
}

// vacant reports a file that stands where one would be written.
func (d Delegation) vacant() error {
	if d.Output == "" {
		return nil
	}
	for _, name := range []string{delegation.TokenReview, delegation.AccessReview, delegation.Authorization} {
		path := filepath.Join(d.Output, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			return fmt.Errorf("%s is there already: remove it, or name another directory", path)
		}
	}
	return nil
}

func (d Delegation) write(files []delegation.File) error {
	if d.Output == "" {
		return nil
	}
	for _, f := range files {
		if err := wholefile.Write(filepath.Join(d.Output, f.Name), f.Data.Reveal(), 0o600); err != nil {
			return err
		}
	}
	return nil
}
