// Package kubeapiserver makes a configuration of what a kube-apiserver was
// started with.
//
// The one idea: what is taken over is what the settings of package config have a
// flag for, so that a setting that is added is taken over without a word here.
// Every other flag of kube-apiserver 1.37 stands in a table with the reason why
// it is left out; a flag that is in neither is told as unknown.
//
// Refused are files that name no kube-apiserver, and command lines that only a
// shell could read. What is left out is never silent: see [Note].
package kubeapiserver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/internal/config"
)

// A Note is one thing that the configuration does not do as the kube-apiserver
// did it.
type Note struct {
	// Subject is the flag with its value, or what else the note is about.
	Subject string
	// Text says what becomes of it, and why.
	Text string
	// Serious is whether somebody's access, or what is written about it, may
	// differ.
	Serious bool
}

// A Result is the configuration, with what it leaves out.
type Result struct {
	Config *config.Configuration
	Notes  []Note
}

// An importer reads one command line.
type importer struct {
	set   *pflag.FlagSet
	known map[string]known
	given map[string][]string
	order []string
	notes []Note
}

// Import returns the configuration that does what c does, with its objects in
// dataDir.
func Import(c *Command, dataDir string) (*Result, error) {
	set := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	flags := config.AddFlags(set, config.Default())
	i := &importer{set: set, known: readTable(), given: map[string][]string{}}
	i.read(c.Args)
	if err := set.Set("data-dir", dataDir); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	for _, name := range i.order {
		i.decide(name, i.given[name])
	}
	i.supplement()
	cfg, err := flags.Load()
	if err != nil {
		return nil, err
	}
	for _, p := range cfg.DropIdle() {
		i.note(p.Where, false, "is left out: %s", p.What)
	}
	for _, p := range config.Problems(cfg.ValidateSettings()) {
		i.note(p.Where, true, "is refused here: %s; %s", p.What, p.Mend)
	}
	for _, m := range c.mounted(cfg.Files()) {
		i.note(m, false, "is a path inside the container; on the machine the file may be elsewhere, as the volumes of the manifest say")
	}
	return &Result{Config: cfg, Notes: i.notes}, nil
}

func (i *importer) note(subject string, serious bool, format string, args ...any) {
	i.notes = append(i.notes, Note{subject, fmt.Sprintf(format, args...), serious})
}

// read takes the arguments apart as kube-apiserver does (pflag, with underscores
// in names taken for dashes).
func (i *importer) read(args []string) {
	for n := 0; n < len(args); n++ {
		arg := args[n]
		name, value, valued := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		dashes := len(arg) - len(strings.TrimLeft(arg, "-"))
		if dashes == 1 && len(name) > 1 && name[0] == 'v' { // -v2
			name, value, valued = "v", strings.TrimPrefix(name[1:]+cond(valued, "="+value), "="), true
		}
		if dashes == 0 || dashes > 2 || name == "" || dashes == 1 && name != "v" {
			i.note(fmt.Sprintf("%q", arg), true, "is no flag, and kube-apiserver takes nothing else: it is left out")
			continue
		}
		name = strings.ReplaceAll(name, "_", "-")
		if !valued {
			switch {
			case i.isBool(name):
				value = "true"
			case n+1 < len(args) && (i.isKnown(name) || !strings.HasPrefix(args[n+1], "-")):
				n++
				value = args[n]
			case i.isKnown(name):
				i.note("--"+name, true, "has no value: it is left out")
				continue
			}
		}
		if _, ok := i.given[name]; !ok {
			i.order = append(i.order, name)
		}
		i.given[name] = append(i.given[name], value)
	}
}

func cond(ok bool, text string) string {
	if ok {
		return text
	}
	return ""
}

func (i *importer) isKnown(name string) bool { _, ok := i.known[name]; return ok }

func (i *importer) isBool(name string) bool { return i.known[name].isBool }

// decide takes one flag over, or says why not.
func (i *importer) decide(name string, values []string) {
	subject := "--" + name + "=" + strings.Join(values, ",")
	if strings.Contains(subject, "@") { // a URL with a password
		subject = "--" + name
	}
	k, ok := i.known[name]
	if name == "basic-auth-file" { // removed in Kubernetes 1.19, and here
		k.group, ok = taken, true
	}
	if !ok {
		if why, gone := removed(name); gone {
			i.note(subject, why.serious, "%s", why.text)
			return
		}
		i.note("--"+name, true, "is no flag of kube-apiserver 1.37: it is unknown what it means, and it is left out")
		return
	}
	if i.special(name, values, subject) {
		return
	}
	last := values[len(values)-1]
	if i.set.Lookup(name) != nil && k.group != "store" {
		for _, v := range values {
			if err := i.set.Set(name, v); err != nil {
				i.note(subject, true, "cannot be read: %v", err)
			}
		}
		return
	}
	why := reasons()[k.group]
	switch {
	case last == k.byDefault:
		i.note(subject, false, "says what kube-apiserver does by default; left out: %s", why.text)
	case why.text == "":
		i.note(subject, true, "has no counterpart here: it is left out")
	default:
		i.note(subject, why.serious, "is left out: %s", why.text)
	}
}

// special decides about flags that are taken over in part. It reports false for
// those that are none of these.
func (i *importer) special(name string, values []string, subject string) bool {
	last := values[len(values)-1]
	split := func() (all []string) {
		for _, v := range values {
			all = append(all, strings.Split(v, ",")...)
		}
		return all
	}
	switch {
	case name == "authorization-mode":
		i.modes(split(), subject)
	case name == "enable-admission-plugins" || name == "disable-admission-plugins":
		i.plugins(name, split())
	case name == "service-account-lookup" && last != "true":
		i.note(subject, true, "is refused: a token would outlive its account; here it is always looked up")
	case name == "secure-port" && last == "0":
		i.note(subject, true, "is refused: there is no other port to serve at; the default holds")
	case name == "cert-dir" && len(i.given["tls-cert-file"]) > 0:
		i.note(subject, false, "is left out: nothing is made there where there is a serving certificate")
	default:
		return false
	}
	return true
}

// modes takes over the modes that are here. AlwaysAllow beside others allows
// everything, which nobody who wrote another mode can want.
func (i *importer) modes(given []string, subject string) {
	var kept []string
	for _, mode := range given {
		switch {
		case mode == config.ModeAlwaysAllow && len(given) > 1:
			i.note(subject, true, "AlwaysAllow beside other modes is refused: they would have nothing to decide")
		case slices.Contains(config.AuthorizationModes(), mode):
			kept = append(kept, mode)
		case mode == "ABAC":
			i.note(subject, true, "ABAC is refused: its file lets everybody read, and is never read again; write roles instead")
		default:
			i.note(subject, true, "%s is not known here, and is left out", mode)
		}
	}
	if len(kept) == 0 {
		i.note(subject, true, "leaves no mode; Node and RBAC decide")
		return
	}
	if err := i.set.Set("authorization-mode", strings.Join(kept, ",")); err != nil {
		i.note(subject, true, "cannot be read: %v", err)
	}
	if slices.Equal(kept, []string{config.ModeAlwaysAllow}) && i.set.Lookup("anonymous-auth") != nil {
		i.given["anonymous-auth"] = []string{"false"}
		if !slices.Contains(i.order, "anonymous-auth") {
			i.order = append(i.order, "anonymous-auth")
		}
		_ = i.set.Set("anonymous-auth", "false")
		i.note("--anonymous-auth", false, "is false with AlwaysAllow, as kube-apiserver makes it")
	}
}

// plugins takes over the admission plugins that are here.
func (i *importer) plugins(name string, given []string) {
	var kept, others []string
	for _, plugin := range given {
		if slices.Contains(config.AdmissionPlugins(), plugin) {
			kept = append(kept, plugin)
		} else {
			others = append(others, plugin)
		}
	}
	if len(others) > 0 {
		i.note("--"+name+"="+strings.Join(others, ","), false, "is left out: these plugins judge objects of a cluster, which is not here")
	}
	if len(kept) > 0 {
		if err := i.set.Set(name, strings.Join(kept, ",")); err != nil {
			i.note("--"+name, true, "cannot be read: %v", err)
		}
	}
}

// supplement says what kube-apiserver does where a flag is not given, if that is
// not the default here.
func (i *importer) supplement() {
	for name, k := range i.known {
		flag := i.set.Lookup(name)
		if flag == nil || flag.Changed || len(i.given[name]) > 0 || k.group == "store" || name == "authorization-mode" || name == "cert-dir" {
			continue
		}
		if k.byDefault != strings.Trim(flag.DefValue, "[]") && k.byDefault != "" {
			if err := i.set.Set(name, k.byDefault); err != nil {
				i.note("--"+name, true, "cannot be as in kube-apiserver: %v", err)
			}
		}
	}
	if len(i.given["authorization-mode"]) == 0 && len(i.given["authorization-config"]) == 0 {
		i.note("--authorization-mode", true, "is not given, which lets everybody do everything in kube-apiserver; here Node and RBAC decide")
	}
	if len(i.given["service-account-issuer"]) == 0 {
		i.note("--service-account-issuer", true, "is not given, and is needed: set it to the URL under which clients reach the server")
	}
	if len(i.given["token-auth-file"]) > 0 {
		i.note("--token-auth-file", false, "is followed here, empty groups are dropped, and a record without a user name is refused")
	}
}
