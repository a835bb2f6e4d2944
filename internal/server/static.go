package server

import (
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

// static opens the files of tokens. Without a key they are passed over: those of
// a valid configuration were read, and one with a million tokens takes its time.
func (c *credentials) static(cfg *config.Configuration, key []byte, audiences []string, log *slog.Logger) ([]authn.TokenVerifier, error) {
	var all []authn.TokenVerifier
	for _, f := range []struct {
		flag, what, path string
		open             func(statictoken.Config) (*statictoken.Verifier, error)
	}{
		{"token-auth-file", "token file", cfg.Authentication.TokenFile, statictoken.Open},
		{"hashed-token-file", "hashed token file", cfg.Authentication.HashedTokenFile, statictoken.OpenHashed},
	} {
		if f.path == "" || key == nil {
			continue
		}
		tokens, err := f.open(statictoken.Config{
			Path: f.path, Key: key, Audiences: audiences, Notify: reporter(log, f.what, f.path),
		})
		if err != nil {
			return nil, err
		}
		warn(log, f.what, f.path, tokens.Warnings())
		c.follow(f.flag, tokens.Status, tokens.Run)
		all = append(all, tokens)
	}
	return all, nil
}

// byHeaders returns what authenticates by the headers of a request: bearer
// tokens, and passwords, which may be nil.
func byHeaders(tokens authn.TokenVerifier, passwords *password.Authenticator) []authn.Authenticator {
	if passwords == nil {
		return []authn.Authenticator{authn.Bearer(tokens), authn.WebSocket(tokens)}
	}
	return []authn.Authenticator{authn.Bearer(tokens, password.Scheme), authn.WebSocket(tokens), passwords}
}

// passwords opens the files of passwords, and returns nil if there are none.
func (c *credentials) passwords(cfg *config.Configuration, counted *metrics.Registry, log *slog.Logger) (*password.Authenticator, error) {
	a := cfg.Authentication
	var sources []*password.Source
	if file := a.HtpasswdFile; file != "" {
		source, err := c.htpasswd(file, a.HtpasswdGroupsFile, log)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	if file := a.BasicAuthFile; file != "" {
		source, err := password.OpenCSV(file, reporter(log, "password file", file))
		if err != nil {
			return nil, err
		}
		c.follow("basic-auth-file", source.Status, source.Run)
		warn(log, "password file", file, source.Warnings())
		log.Warn("the passwords in the file are in plain text; use --htpasswd-file instead", "file", file)
		sources = append(sources, source)
	}
	if len(sources) == 0 {
		return nil, nil
	}
	passwords, err := password.New(sources...)
	if err != nil {
		return nil, err
	}
	c.challenges = append(c.challenges, basicChallenge)
	counted.Passwords(func() metrics.Passwords { return metrics.Passwords(passwords.Stats()) })
	return passwords, nil
}

func (c *credentials) htpasswd(file, groupsFile string, log *slog.Logger) (*password.Source, error) {
	var groups *password.Groups
	if groupsFile != "" {
		var err error
		if groups, err = password.OpenGroups(groupsFile, reporter(log, "group file", groupsFile)); err != nil {
			return nil, err
		}
		c.follow("htpasswd-groups-file", groups.Status, groups.Run)
	}
	source, err := password.OpenHtpasswd(file, groups, reporter(log, "password file", file))
	if err != nil {
		return nil, err
	}
	c.follow("htpasswd-file", source.Status, source.Run)
	warn(log, "password file", file, source.Warnings())
	return source, nil
}

// warn logs what is odd but allowed in a file.
func warn(log *slog.Logger, what, file string, warnings []string) {
	for _, w := range warnings {
		log.Warn(what, "file", file, "warning", w)
	}
}
