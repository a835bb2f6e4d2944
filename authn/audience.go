package authn

import "slices"

// Audiences returns the audiences in asked that are among those of a server,
// for a credential that is meant for the server as a whole and names no
// audience itself, such as a static token. If none is asked for, the server's
// own are. It reports false if audiences are asked for and none of them is the
// server's: the credential is then no credential of its kind. (k8s.io/apiserver
// pkg/authentication/authenticator/audagnostic.go.)
func Audiences(server, asked []string) ([]string, bool) {
	if len(asked) == 0 {
		return server, true
	}
	both := Intersect(server, asked)
	return both, len(both) > 0
}

// Intersect returns the members of asked that are in have, in the order of
// asked, or nil.
func Intersect(have, asked []string) []string {
	var both []string
	for _, a := range asked {
		if slices.Contains(have, a) {
			both = append(both, a)
		}
	}
	return both
}
