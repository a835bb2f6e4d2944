package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/internal/pki"
	"gatehouse.dev/gatehouse/internal/pki/wholefile"
	"gatehouse.dev/gatehouse/internal/register"
)

const (
	// spoolDirectory is where commands that need no server leave the entries of
	// what they issue, below the data directory.
	spoolDirectory = "issued"
	spoolSuffix    = ".json"
	// spoolEvery is how soon a running server finds them.
	spoolEvery = 5 * time.Second
)

// spool leaves the entry of a certificate in a data directory, and returns when it
// is on disk.
func spool(dir string, authority *pki.Authority, cert *pki.ClientCertificate, asker register.Asker) error {
	e := register.OfCertificate(cert.Certificate, authority.Certificate(), time.Now())
	e.Asker = asker
	text, err := e.Spool()
	if err != nil {
		return fmt.Errorf("recording the certificate: %w", err)
	}
	if err := wholefile.Write(filepath.Join(dir, spoolDirectory, e.Name()+spoolSuffix), text, 0o600); err != nil {
		return fmt.Errorf("recording the certificate: %w", err)
	}
	return nil
}

// followSpool takes what is spooled into the register until ctx is done.
func (s *Server) followSpool(ctx context.Context) {
	if s.directory == nil {
		return
	}
	tick := time.NewTicker(spoolEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.takeSpool(ctx); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "a credential that was issued without the server is not in the register yet", "err", err)
			}
		}
	}
}

// takeSpool writes what is spooled into the register, and removes it from the
// directory when it is there. What cannot be read stays, and is in the error.
func (s *Server) takeSpool(ctx context.Context) error {
	if s.directory == nil {
		return nil
	}
	files, err := os.ReadDir(s.directory.Join(spoolDirectory))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what was issued without the server: %w", err)
	}
	var problems []error
	for _, f := range files {
		// Not what is only begun.
		if strings.HasSuffix(f.Name(), spoolSuffix) && !strings.HasPrefix(f.Name(), ".") {
			problems = append(problems, s.takeSpooled(ctx, s.directory.Join(spoolDirectory, f.Name())))
		}
	}
	return errors.Join(problems...)
}

func (s *Server) takeSpooled(ctx context.Context, file string) error {
	text, err := wholefile.Read(file)
	if err != nil {
		return err
	}
	e, err := register.ReadSpooled(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := s.register.Record(ctx, e); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("removing what is in the register: %w", err)
	}
	return nil
}
