package config

import "gatehouse.dev/gatehouse/authn/password"

// passwords refuses files that the server would refuse, and what has no effect.
func (k *check) passwords() {
	a := &k.c.Authentication
	if a.HtpasswdGroupsFile != "" && a.HtpasswdFile == "" {
		k.refuse(&a.HtpasswdGroupsFile, "set that as well, or remove this", "has no effect without %s", k.name(&a.HtpasswdFile))
	}
	for _, f := range []struct {
		path *string
		open func(path string) error
	}{
		{&a.BasicAuthFile, func(path string) error { _, err := password.OpenCSV(path, nil); return err }},
		{&a.HtpasswdFile, func(path string) error { _, err := password.OpenHtpasswd(path, nil, nil); return err }},
		{&a.HtpasswdGroupsFile, func(path string) error { _, err := password.OpenGroups(path, nil); return err }},
	} {
		if *f.path == "" || readable(*f.path) != nil {
			continue // that is refused elsewhere
		}
		if err := f.open(*f.path); err != nil {
			k.refuse(f.path, "correct the file; docs/passwords.md has examples", "%v", err)
		}
	}
}
