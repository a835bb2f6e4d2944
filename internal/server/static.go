package server

import (
	"errors"
	"log/slog"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/metrics"
)

// basicChallenge is what a 401 offers where there are passwords. That they are
// read as UTF-8 has to be told (RFC 7617 section 2.1).
const basicChallenge = `Basic realm="gatehouse", charset="UTF-8"`

// What mends a bad file of static credentials.
const (
	mendTokens    = "correct the file; docs/authentication.md has an example"
	mendPasswords = "correct the file; docs/passwords.md has an example"
)

// static opens the files of tokens, and returns all that is wrong with them.
func (c *credentials) static(cfg *config.Configuration, key []byte, audiences []string, log *slog.Logger) ([]authn.TokenVerifier, error) {
	var all []authn.TokenVerifier
	var errs []error
	for _, f := range []struct {
		flag, what string
		path       *string
		open       func(statictoken.Config) (*statictoken.Verifier, error)
	}{
		{"token-auth-file", "token file", &cfg.Authentication.TokenFile, statictoken.Open},
		{"hashed-token-file", "hashed token file", &cfg.Authentication.HashedTokenFile, statictoken.OpenHashed},
	} {
		if *f.path == "" {
			continue
		}
		tokens, err := f.open(statictoken.Config{
			Path: *f.path, Key: key, Audiences: audiences, Notify: reporter(log, f.what, *f.path),
		})
		if err != nil {
			errs = append(errs, cfg.Wrong(f.path, err, mendTokens))
			continue
		}
		warn(log, f.what, *f.path, tokens.Warnings())
		c.follow(f.flag, tokens.Status, tokens.Run)
		all = append(all, tokens)
	}
	return all, errors.Join(errs...)
}

// byHeaders returns what authenticates by the headers of a request: bearer
// tokens, and passwords, which may be nil.
func byHeaders(tokens authn.TokenVerifier, passwords *password.Authenticator) []authn.Authenticator {
	if passwords == nil {
		return []authn.Authenticator{authn.Bearer(tokens), authn.WebSocket(tokens)}
	}
	return []authn.Authenticator{authn.Bearer(tokens, password.Scheme), authn.WebSocket(tokens), passwords}
}

// passwords opens the files of passwords, and returns nil if there are none. It
// returns all that is wrong with them.
func (c *credentials) passwords(cfg *config.Configuration, counted *metrics.Registry, log *slog.Logger) (*password.Authenticator, error) {
	a := &cfg.Authentication
	var sources []*password.Source
	var errs []error
	if a.HtpasswdFile != "" {
		source, err := c.htpasswd(cfg, log)
		sources, errs = append(sources, source), append(errs, err)
	}
	if a.BasicAuthFile != "" {
		source, err := c.plainPasswords(cfg, log)
		sources, errs = append(sources, source), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || len(sources) == 0 {
		return nil, err
	}
	passwords, err := password.New(sources...)
	if err != nil {
		return nil, err
	}
	c.challenges = append(c.challenges, basicChallenge)
	counted.Passwords(func() metrics.Passwords { return metrics.Passwords(passwords.Stats()) })
	return passwords, nil
}

func (c *credentials) htpasswd(cfg *config.Configuration, log *slog.Logger) (*password.Source, error) {
	a := &cfg.Authentication
	var groups *password.Groups
	if file := a.HtpasswdGroupsFile; file != "" {
		var err error
		if groups, err = password.OpenGroups(file, reporter(log, "group file", file)); err != nil {
			return nil, cfg.Wrong(&a.HtpasswdGroupsFile, err, mendPasswords)
		}
		c.follow("htpasswd-groups-file", groups.Status, groups.Run)
	}
	source, err := password.OpenHtpasswd(a.HtpasswdFile, groups, reporter(log, "password file", a.HtpasswdFile))
	if err != nil {
		return nil, cfg.Wrong(&a.HtpasswdFile, err, mendPasswords)
	}
	c.follow("htpasswd-file", source.Status, source.Run)
	warn(log, "password file", a.HtpasswdFile, source.Warnings())
	return source, nil
}

func (c *credentials) plainPasswords(cfg *config.Configuration, log *slog.Logger) (*password.Source, error) {
	file := &cfg.Authentication.BasicAuthFile
	source, err := password.OpenCSV(*file, reporter(log, "password file", *file))
	if err != nil {
		return nil, cfg.Wrong(file, err, mendPasswords)
	}
	c.follow("basic-auth-file", source.Status, source.Run)
	warn(log, "password file", *file, source.Warnings())
	log.Warn("the passwords in the file are in plain text; use --htpasswd-file instead", "file", *file)
	return source, nil
}

// warn logs what is odd but allowed in a file.
func warn(log *slog.Logger, what, file string, warnings []string) {
	for _, w := range warnings {
		log.Warn(what, "file", file, "warning", w)
	}
}
