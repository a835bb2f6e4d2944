package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"encoding/json"
	"github.com/google/renameio/v2"
	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/kubeconfig"
	"gatehouse.dev/gatehouse/internal/pki"
)

const (
	// AdminLifetime is how long the administrator's certificate of a running
	// server lives; it is written anew at half of that.
	AdminLifetime = 24 * time.Hour
	// adminName is the user name in it.
	adminName = "gatehouse-admin"
	// endpointFile tells where the server of a data directory was reached last.
	endpointFile = "endpoint"
	// adminLog is where credentials that no server handed out are written down.
	adminLog = "admin-audit.log"
	// adminKubeconfig is the name of the file in the data directory.
	adminKubeconfig = "admin.kubeconfig"
)

// AdminKubeconfig returns where the administrator's kubeconfig is, or "" if
// the server has no authority of its own to make one.
func (s *Server) AdminKubeconfig() string {
	if s.material.authority == nil || s.directory == nil {
		return ""
	}
	return s.directory.Join(adminKubeconfig)
}

// WriteAdminKubeconfig writes an administrator's kubeconfig with a new
// certificate.
func (s *Server) WriteAdminKubeconfig() error {
	path := s.AdminKubeconfig()
	if path == "" {
		return errors.New("writing the administrator's kubeconfig: there is no data directory, and so no authority to sign its certificate")
	}
	return writeAdmin(s.material.authority, s.url(), adminName, AdminLifetime, path, s.recordCertificate)
}

// url is how a client on this machine reaches the server.
func (s *Server) url() string { return "https://" + reachable(s.Address()) }

// leaveAddress writes into the data directory where the server is, for an
// [Emergency].
func (s *Server) leaveAddress(context.Context) error {
	if s.directory == nil {
		return nil
	}
	if err := renameio.WriteFile(s.directory.Join(endpointFile), []byte(s.url()+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the server's address: %w", err)
	}
	return nil
}

// KeepAdminKubeconfig writes the kubeconfig anew in time, until ctx is done.
func (s *Server) KeepAdminKubeconfig(ctx context.Context) {
	tick := time.NewTicker(AdminLifetime / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.WriteAdminKubeconfig(); err != nil {
				s.log.Error("renewing the administrator's kubeconfig", "err", err)
			}
		}
	}
}

// writeAdmin writes a kubeconfig with a new certificate, once that is recorded.
func writeAdmin(authority *pki.Authority, url, name string, lifetime time.Duration, path string, record func(*pki.ClientCertificate) error) error {
	cert, err := issuing.Administrator(authority, name, lifetime)
	if err != nil {
		return err
	}
	if err := record(cert); err != nil {
		return err
	}
	return kubeconfig.Config{
		Context: "gatehouse", Cluster: "gatehouse", User: name,
		Server: url, Authority: authority.PEM(), Certificate: cert.PEM, Key: cert.Key,
	}.Write(path)
}

// reachable replaces an address that stands for all addresses by one that can
// be dialed on this machine.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// An Emergency is the way back in for the owner of a data directory: a
// kubeconfig that rests on nothing but the files in there.
type Emergency struct {
	// DataDir is that of the server, which may be running or not.
	DataDir string
	// Server is its URL, or "" for where it was reached last.
	Server string
	// Output is where the kubeconfig goes.
	Output   string
	Lifetime time.Duration
}

// Write mints the certificate and writes the kubeconfig. Before that it writes
// into the directory's own audit log who did so, and leaves there what the register
// of credentials is to have.
func (e Emergency) Write() error {
	authority, err := ownAuthority(e.DataDir)
	if err != nil {
		return err
	}
	url, err := lastURL(e.DataDir, e.Server)
	if err != nil {
		return err
	}
	owner, err := user.Current()
	if err != nil {
		return fmt.Errorf("finding out who asks: %w", err)
	}
	name := "gatehouse-emergency-" + owner.Username
	if err := record(e.DataDir, owner, "gatehouse admin kubeconfig", name, time.Now().Add(e.Lifetime)); err != nil {
		return err
	}
	return writeAdmin(authority, url, name, e.Lifetime, e.Output, func(cert *pki.ClientCertificate) error {
		return spool(e.DataDir, authority, cert, ofOwner(owner))
	})
}

// ownAuthority opens the authority in a data directory, and never makes one.
func ownAuthority(dir string) (*pki.Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil {
		return nil, fmt.Errorf("%s holds no authority that could let anybody in: %w", dir, err)
	}
	return pki.OpenAuthority(dir, "ca", "gatehouse")
}

// lastURL returns the URL that is given, or else where the server of a data
// directory was reached last.
func lastURL(dir, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, endpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("where the server of %s is, is not known: give --server", dir)
	}
	if err != nil {
		return "", fmt.Errorf("reading the server's address: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// record appends an event of audit.k8s.io/v1 to the log in a data directory,
// about a credential for name that a command hands out to the owner, and
// returns when it is on disk.
func record(dir string, owner *user.User, command, name string, until time.Time) error {
	now := metav1.NewMicroTime(time.Now())
	event := auditv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "audit.k8s.io/v1", Kind: "Event"},
		Level:    auditv1.LevelMetadata, AuditID: types.UID(uuid.NewString()), Stage: auditv1.StageResponseComplete,
		RequestURI: command, Verb: "create",
		User:                     authenticationv1.UserInfo{Username: owner.Username, UID: owner.Uid},
		ResponseStatus:           &metav1.Status{Code: 200},
		RequestReceivedTimestamp: now, StageTimestamp: now,
		Annotations: map[string]string{
			"authentication.gatehouse.dev/method": "DataDirectory",
			"authentication.gatehouse.dev/issued": name,
			"authentication.gatehouse.dev/until":  until.UTC().Format(time.RFC3339),
		},
	}
	line, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding audit event: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, adminLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening audit log: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing audit log: %w", err)
	}
	return nil
}
