package config

import (
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/authn/statictoken"
)

// static refuses files of tokens and passwords that the server would refuse, and
// what has no effect.
func (k *check) static() {
	a := &k.c.Authentication
	if a.HtpasswdGroupsFile != "" && a.HtpasswdFile == "" {
		k.refuse(&a.HtpasswdGroupsFile, "set that as well, or remove this", "has no effect without %s", k.name(&a.HtpasswdFile))
	}
	for _, f := range []struct {
		path *string
		open func(path string) error
	}{
		{&a.TokenFile, func(path string) error { _, err := statictoken.Open(anyKey(path)); return err }},
		{&a.HashedTokenFile, func(path string) error { _, err := statictoken.OpenHashed(anyKey(path)); return err }},
		{&a.BasicAuthFile, func(path string) error { _, err := password.OpenCSV(path, nil); return err }},
		{&a.HtpasswdFile, func(path string) error { _, err := password.OpenHtpasswd(path, nil, nil); return err }},
		{&a.HtpasswdGroupsFile, func(path string) error { _, err := password.OpenGroups(path, nil); return err }},
	} {
		if *f.path == "" || readable(*f.path) != nil {
			continue // that is refused elsewhere
		}
		if err := f.open(*f.path); err != nil {
			k.refuse(f.path, "correct the file; docs/authentication.md and docs/passwords.md have examples", "%v", err)
		}
	}
}

// anyKey is enough to see whether a file of tokens can be read.
func anyKey(path string) statictoken.Config {
	return statictoken.Config{Path: path, Key: make([]byte, 32)}
}
