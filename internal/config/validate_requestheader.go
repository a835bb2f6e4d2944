package config

import (
	"slices"
	"strings"

	"gatehouse.dev/gatehouse/authn/frontproxy"
	"gatehouse.dev/gatehouse/internal/pki"
)

// requestHeader refuses what makes an authenticating proxy of no use, or of too
// much.
func (k *check) requestHeader() {
	h := &k.c.Authentication.RequestHeader
	if h.ClientCAFile == "" {
		k.unused("authentication.requestHeader.", &h.ClientCAFile,
			"has no effect without "+k.name(&h.ClientCAFile), "set that as well, or remove this")
		return
	}
	if len(h.UsernameHeaders) == 0 {
		k.refuse(&h.ClientCAFile, "set that to X-Remote-User", "lets nobody in without %s", k.name(&h.UsernameHeaders))
	}
	for _, names := range []*[]string{&h.UsernameHeaders, &h.UIDHeaders, &h.GroupHeaders, &h.ExtraHeaderPrefixes} {
		k.set(names)
		for _, name := range *names {
			if name != "" && !frontproxy.IsName(name) {
				k.refuse(names, "write it as X-Remote-User is written", "%q is not a name of a header", name)
			}
		}
	}
	standard := func(name string) bool { return strings.EqualFold(name, "X-Remote-Uid") }
	if len(h.UIDHeaders) > 0 && !slices.ContainsFunc(h.UIDHeaders, standard) {
		k.refuse(&h.UIDHeaders, "add X-Remote-Uid", "does not have X-Remote-Uid, so API aggregation will not work")
	}
	k.set(&h.AllowedNames)
	if i := slices.IndexFunc(h.AllowedNames, func(name string) bool { return name != "" && strings.TrimSpace(name) == "" }); i >= 0 {
		k.refuse(&h.AllowedNames, "remove it, or give it a value", "entry %d is only white space", i+1)
	}
	k.ownCA(h)
}

// ownCA refuses a CA of proxies that is also one of clients, unless the proxies
// are told by their names: else each client could act as anybody.
func (k *check) ownCA(h *RequestHeader) {
	clients := &k.c.Authentication.ClientCAFile
	if *clients == "" || len(h.AllowedNames) > 0 {
		return
	}
	// Files that cannot be read are refused elsewhere.
	ours, err := pki.Fingerprints(h.ClientCAFile)
	if err != nil {
		return
	}
	theirs, err := pki.Fingerprints(*clients)
	if err != nil {
		return
	}
	if slices.ContainsFunc(ours, func(id string) bool { return slices.Contains(theirs, id) }) {
		k.refuse(&h.ClientCAFile, "use a CA of its own, or set "+k.name(&h.AllowedNames),
			"has a certificate that is also in %s, so any client could act as anybody", k.name(clients))
	}
}
