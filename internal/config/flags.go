package config

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// Flags are the flags of one command line, and the file they name.
type Flags struct {
	set      *pflag.FlagSet
	file     string
	defaults Configuration
	given    Configuration // what the flags write to
}

// AddFlags registers --config and the flag of every setting on set, with the
// values in defaults as their defaults. Names, types and meanings are those of
// kube-apiserver where it has the flag.
func AddFlags(set *pflag.FlagSet, defaults *Configuration) *Flags {
	f := &Flags{set: set, defaults: *defaults, given: *defaults}
	set.StringVar(&f.file, "config", "", "The configuration file, of kind "+Kind+" and version "+APIVersion+
		". A flag wins over it.")
	texts := comments()
	for _, s := range f.given.settings() {
		if s.flag != "" {
			s.addFlag(set, s.describe(texts).Text)
		}
	}
	return f
}

// addFlag registers the flag of s, whose type is that of the field.
func (s setting) addFlag(set *pflag.FlagSet, usage string) {
	switch v := s.field().(type) {
	case *string:
		set.StringVar(v, s.flag, *v, usage)
	case *bool:
		set.BoolVar(v, s.flag, *v, usage)
	case *int:
		short := ""
		if len(s.flag) == 1 {
			short = s.flag
		}
		set.IntVarP(v, s.flag, short, *v, usage)
	case *int64:
		set.Int64Var(v, s.flag, *v, usage)
	case *float32:
		set.Float32Var(v, s.flag, *v, usage)
	case *Duration:
		set.DurationVar((*time.Duration)(v), s.flag, time.Duration(*v), usage)
	case *net.IP:
		set.IPVar(v, s.flag, *v, usage)
	case *[]string:
		if s.array {
			set.StringArrayVar(v, s.flag, *v, usage)
		} else {
			set.StringSliceVar(v, s.flag, *v, usage)
		}
	case *[]NamedCertificate:
		set.Var(&certificatesFlag{to: v}, s.flag, usage)
	default:
		panic("internal error: no flag can be of the type of " + s.path)
	}
}

// Load returns the configuration that is in effect: the defaults, under the
// file that --config names, under the flags that were given. Call it after the
// flags are parsed. The result is not yet checked: see
// [Configuration.Validate]. The error holds a [Problem] for each thing that
// cannot be read.
func (f *Flags) Load() (*Configuration, error) {
	c, err := over(f.defaults, f.file)
	if err != nil {
		return nil, err
	}
	given := f.given.settings()
	for i, s := range c.settings() {
		if s.flag != "" && f.set.Changed(s.flag) {
			s.value.Set(given[i].value)
			c.where[s.path] = s.dashed()
		}
	}
	return c, nil
}

// Read returns the defaults under the file at path, as [Flags.Load] does where
// only --config is given.
func Read(path string) (*Configuration, error) { return over(*Default(), path) }

// over returns base under the file at path, if there is one.
func over(base Configuration, path string) (*Configuration, error) {
	base.file, base.where = path, make(map[string]string)
	if path != "" {
		if err := base.read(path); err != nil {
			return nil, err
		}
	}
	return &base, nil
}

// read reads the file at path over c. Relative paths in a file are relative to
// its folder, as in a kubeconfig, so that it does not matter where the server
// is started.
func (c *Configuration) read(path string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	if err := c.decode(path, data); err != nil {
		return err
	}
	for _, s := range c.settings() {
		if s.use == "" || c.where[s.path] == "" {
			continue
		}
		for _, p := range s.paths() {
			if *p != "" && *p != standardOutput && !filepath.IsAbs(*p) {
				*p = filepath.Join(filepath.Dir(path), *p)
			}
		}
	}
	return nil
}

// readFile reads no more of a configuration file than tells that it is too big.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

func unreadable(path string, err error) *Problem {
	what := "cannot be read"
	if cause := errors.Unwrap(err); cause != nil {
		what += ": " + cause.Error()
	}
	return &Problem{Where: path, What: what, Mend: "name a configuration file that this user may read"}
}

// locate returns where the value of s was given.
func (c *Configuration) locate(s setting) string {
	switch place, ok := c.where[s.path]; {
	case ok && place == s.dashed():
		return place
	case ok:
		return place + ": " + s.path
	case c.file != "":
		return c.file + ": " + s.name()
	}
	return s.name()
}
