package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	cliflag "k8s.io/component-base/cli/flag"

	"gatehouse.dev/gatehouse/internal/issuers"
)

// The smallest and largest quota of the embedded etcd, in bytes. Below, the
// default roles and the history of a busy minute do not fit; above, etcd advises
// against it (its documentation, "System limits").
const (
	minQuota = 16 << 20
	maxQuota = 100 << 30
)

// The bounds of --max-staleness. Below, a busy machine would refuse everybody now
// and then; above, nothing is promised any more, for which there is --serve-stale.
const (
	minStaleness = time.Second
	maxStaleness = time.Hour
)

// Validate returns everything that is wrong with c as one error that joins a
// [Problem] for each: what is out of range, contradicts something else, would
// have no effect, or names a file that cannot be read. It opens files to see
// that they can be read, and does nothing else outside the process.
func (c *Configuration) Validate() error {
	k := c.judge()
	k.files()
	return errors.Join(k.problems...)
}

// ValidateSettings is [Configuration.Validate] on a machine that the files are
// not on: those that cannot be read are passed over.
func (c *Configuration) ValidateSettings() error { return errors.Join(c.judge().problems...) }

// DropIdle takes out what has no effect, and returns the problem of each setting
// that it did so for.
func (c *Configuration) DropIdle() []*Problem {
	var dropped []*Problem
	for range len(c.settings()) { // one that is gone may leave others idle
		before := len(dropped)
		for _, p := range Problems(c.ValidateSettings()) {
			if strings.HasPrefix(p.What, "has no effect") || strings.HasPrefix(p.What, "nothing is recorded") {
				c.reset(p.field)
				dropped = append(dropped, p)
			}
		}
		if len(dropped) == before {
			break
		}
	}
	return dropped
}

// reset makes a setting what it is by default.
func (c *Configuration) reset(field any) {
	defaults := Default().settings()
	for i, s := range c.settings() {
		if s.field() == field {
			s.value.Set(defaults[i].value)
			delete(c.where, s.path)
		}
	}
}

// Files returns the paths of the files that c reads.
func (c *Configuration) Files() []string {
	var all []string
	for _, s := range c.settings() {
		if s.use != "read" {
			continue
		}
		for _, p := range s.paths() {
			if *p != "" {
				all = append(all, *p)
			}
		}
	}
	return all
}

// judge applies every rule but that files can be read.
func (c *Configuration) judge() *check {
	k := &check{c: c, by: make(map[any]setting)}
	for _, s := range c.settings() {
		k.by[s.field()] = s
	}
	k.head()
	k.serving()
	k.tls()
	k.storage()
	k.etcd()
	k.requestHeader()
	k.passwords()
	k.serviceAccounts()
	k.certificates()
	k.issuers()
	k.tokenWebhook()
	k.webhookClients()
	k.authorization()
	k.audit()
	k.admission()
	k.limits()
	return k
}

// A check collects what is wrong with a configuration. Fields are told by their
// pointers, so that a rule cannot name one that does not exist.
type check struct {
	c        *Configuration
	by       map[any]setting
	problems []error
	// anonymous is what the file of issuers says about anonymous requests, or
	// nil if it says nothing.
	anonymous *issuers.Anonymous
}

// refuse adds a problem with a field.
func (k *check) refuse(field any, mend, format string, args ...any) {
	k.problems = append(k.problems, &Problem{
		Where: k.c.locate(k.by[field]), What: fmt.Sprintf(format, args...), Mend: mend, field: field,
	})
}

// name returns how a reader can find a field in a file and among flags.
func (k *check) name(field any) string { return k.by[field].name() }

// together refuses one of two strings without the other.
func (k *check) together(a, b *string) {
	if *a != "" && *b == "" {
		k.refuse(a, "set both, or neither", "is given without %s", k.name(b))
	}
	if *b != "" && *a == "" {
		k.refuse(b, "set both, or neither", "is given without %s", k.name(a))
	}
}

// unused refuses every setting below path that is not as by default, but for
// the field except.
func (k *check) unused(path string, except any, what, mend string) {
	defaults := Default().settings()
	for i, s := range k.c.settings() {
		if !strings.HasPrefix(s.path, path) || s.field() == except {
			continue
		}
		if !same(s.value, defaults[i].value) {
			k.refuse(s.field(), mend, "%s", what)
		}
	}
}

// same reports whether a and b say the same. A list without entries is none, as
// a file that was listed has it.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// oneOf refuses a value that is not among those that are known.
func (k *check) oneOf(field *string, known ...string) {
	if !slices.Contains(known, *field) {
		k.refuse(field, "choose one of "+strings.Join(known, ", "), "%q is not known", *field)
	}
}

// set refuses a list with an empty, repeated or unknown entry. Without known,
// every entry is.
func (k *check) set(field *[]string, known ...string) {
	for i, v := range *field {
		switch {
		case v == "":
			k.refuse(field, "remove it, or give it a value", "entry %d is empty", i+1)
		case slices.Contains((*field)[:i], v):
			k.refuse(field, "keep one of them", "entry %d is given twice", i+1)
		case len(known) > 0 && !slices.Contains(known, v):
			k.refuse(field, "choose from "+strings.Join(known, ", "), "%q is not known", v)
		}
	}
}

func (k *check) head() {
	k.oneOf(&k.c.APIVersion, APIVersion)
	k.oneOf(&k.c.Kind, Kind)
}

// passwords refuses the file of groups that has no effect.
func (k *check) passwords() {
	a := &k.c.Authentication
	if a.HtpasswdGroupsFile != "" && a.HtpasswdFile == "" {
		k.refuse(&a.HtpasswdGroupsFile, "set that as well, or remove this", "has no effect without %s", k.name(&a.HtpasswdFile))
	}
}

func (k *check) serving() {
	s := &k.c.Serving
	if s.SecurePort < 1 || s.SecurePort > 65535 {
		k.refuse(&s.SecurePort, "choose one from 1 to 65535; it cannot be switched off", "%d is not a port", s.SecurePort)
	}
	if len(s.BindAddress) == 0 {
		k.refuse(&s.BindAddress, "write 0.0.0.0 to listen on every address", "is empty")
	}
	k.externalHostname()
	k.together(&s.TLSCertFile, &s.TLSPrivateKeyFile)
	if s.TLSCertFile != "" && s.CertDir != "" {
		k.refuse(&s.CertDir, "remove one of the two", "is for a certificate that the server makes, and %s replaces it", k.name(&s.TLSCertFile))
	}
	if s.TLSCertFile == "" && s.CertDir == "" && k.c.Storage.DataDir == "" {
		k.refuse(&s.TLSCertFile, "set it with "+k.name(&s.TLSPrivateKeyFile)+", or name a folder with "+k.name(&s.CertDir),
			"is not set, and there is no folder for a certificate that the server makes")
	}
	for i, pair := range s.TLSSNICertKeys {
		if pair.CertFile == "" || pair.KeyFile == "" {
			k.refuse(&s.TLSSNICertKeys, "name the files of both", "entry %d lacks its certificate or its key", i+1)
		}
		if slices.Contains(pair.Names, "") {
			k.refuse(&s.TLSSNICertKeys, "remove it, or give it a value", "entry %d has an empty name", i+1)
		}
	}
}

// tls checks version and suites. Go's HTTP/2 refuses to start without one of
// the two suites that RFC 9113 section 9.2.2 makes mandatory.
func (k *check) tls() {
	s := &k.c.Serving
	if _, err := cliflag.TLSVersion(s.TLSMinVersion); err != nil {
		k.refuse(&s.TLSMinVersion, "choose one of "+strings.Join(cliflag.TLSPossibleVersions(), ", "), "%q is not known", s.TLSMinVersion)
	}
	k.set(&s.TLSCipherSuites, cliflag.TLSCipherPossibleValues()...)
	if len(s.TLSCipherSuites) == 0 {
		return
	}
	if s.TLSMinVersion == "VersionTLS13" {
		k.refuse(&s.TLSCipherSuites, "remove it, or allow VersionTLS12", "has no effect with VersionTLS13, whose suites cannot be chosen")
		return
	}
	http2 := []string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}
	if !slices.Contains(s.TLSCipherSuites, http2[0]) && !slices.Contains(s.TLSCipherSuites, http2[1]) {
		k.refuse(&s.TLSCipherSuites, "add "+strings.Join(http2, " or "), "has none of the suites that HTTP/2 needs")
	}
}

func (k *check) storage() {
	s := &k.c.Storage
	if p := s.Etcd.Prefix; !strings.HasPrefix(p, "/") || p == "/" || path.Clean(p) != p {
		k.refuse(&s.Etcd.Prefix, "write it as /registry", "%q is not a path below /", p)
	}
	if q := s.QuotaBackendBytes; q < minQuota || q > maxQuota {
		k.refuse(&s.QuotaBackendBytes, "give a number of bytes between 16 MiB and 100 GiB", "%d is not between %d and %d", q, minQuota, maxQuota)
	}
	if d := time.Duration(s.MaxStaleness); d < minStaleness || d > maxStaleness {
		k.refuse(&s.MaxStaleness, "give a duration from 1s to 1h; to go on without the store, set "+k.name(&s.ServeStale), "%v is not between %v and %v", d, minStaleness, maxStaleness)
	}
	switch external := len(s.Etcd.Servers) > 0; {
	case external && s.DataDir != "":
		k.refuse(&s.DataDir, "remove one of the two", "is for the embedded etcd, and %s replaces it", k.name(&s.Etcd.Servers))
	case external:
		if s.QuotaBackendBytes != Default().Storage.QuotaBackendBytes {
			k.refuse(&s.QuotaBackendBytes, "set it where etcd is started", "is for the embedded etcd, and %s replaces it", k.name(&s.Etcd.Servers))
		}
		k.shared()
	case s.DataDir == "":
		k.refuse(&s.DataDir, "name a folder for the embedded etcd, or the servers of an etcd cluster",
			"is not set, and neither is %s", k.name(&s.Etcd.Servers))
	}
}

// shared refuses keys that a server would make for itself where its neighbours
// on the same etcd have to know them too.
func (k *check) shared() {
	for _, field := range []*string{
		&k.c.Authentication.ClientCAFile,
		&k.c.Storage.EncryptionProviderConfigFile,
	} {
		if *field == "" {
			k.refuse(field, "name a file that is the same on every server of the cluster",
				"is needed with %s", k.name(&k.c.Storage.Etcd.Servers))
		}
	}
}

func (k *check) etcd() {
	e := &k.c.Storage.Etcd
	k.together(&e.CertFile, &e.KeyFile)
	k.set(&e.Servers)
	plain := len(e.Servers) == 0
	for _, server := range e.Servers {
		u, err := url.Parse(server)
		switch {
		case server == "":
		case strings.Contains(server, "@"): // so it must not be told
			k.refuse(&e.Servers, "remove it, and use a client certificate", "holds a user name or a password")
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			k.refuse(&e.Servers, "write it as https://HOST:2379", "%q is not a URL of an etcd server", server)
		case u.Scheme == "http":
			plain = true
		}
	}
	for _, field := range []*string{&e.CAFile, &e.CertFile, &e.KeyFile} {
		if plain && *field != "" {
			k.refuse(field, "remove it, or give only https servers", "is for TLS, and not all of %s use it", k.name(&e.Servers))
		}
	}
}

func (k *check) admission() {
	a := &k.c.Admission
	k.set(&a.Enable, AdmissionPlugins()...)
	k.set(&a.Disable, AdmissionPlugins()...)
	for _, plugin := range a.Enable {
		if plugin != "" && slices.Contains(a.Disable, plugin) {
			k.refuse(&a.Enable, "remove one of the two", "%q is also in %s", plugin, k.name(&a.Disable))
		}
	}
}

func (k *check) limits() {
	l := &k.c.Limits
	for _, field := range []*int{&l.MaxRequestsInflight, &l.MaxMutatingRequestsInflight} {
		if *field < 0 {
			k.refuse(field, "choose a number from 1, or 0 for no limit", "%d is negative", *field)
		}
	}
	if l.RequestTimeout <= 0 {
		k.refuse(&l.RequestTimeout, "choose a duration such as 1m", "%s leaves no time to answer", l.RequestTimeout)
	}
	if v := &k.c.Logging.Verbosity; *v < 0 || *v > 10 {
		k.refuse(v, "choose a number from 0 to 10", "%d is not a level", *v)
	}
}

// files refuses paths of files that cannot be read, and of folders that are
// none. What the server makes need not exist.
func (k *check) files() {
	for _, s := range k.c.settings() {
		if s.use != "read" {
			continue
		}
		for _, p := range s.paths() {
			if err := readable(*p); *p != "" && err != nil {
				k.refuse(s.field(), "correct the path, or its permissions", "%s: %v", *p, err)
			}
		}
	}
	for _, dir := range []*string{&k.c.Serving.CertDir, &k.c.Storage.DataDir} {
		if info, err := os.Stat(*dir); err == nil && !info.IsDir() {
			k.refuse(dir, "name a folder", "%s is not a folder", *dir)
		}
	}
}

// readable returns why a file cannot be read, without its path.
func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return cause(err)
	}
	if info.IsDir() {
		return errors.New("is a folder")
	}
	if !info.Mode().IsRegular() {
		return nil // opening a pipe would wait for its writer
	}
	file, err := os.Open(path)
	if err != nil {
		return cause(err)
	}
	return file.Close()
}

// cause returns what is below an error of a path, or err.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
