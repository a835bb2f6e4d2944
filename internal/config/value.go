package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Duration is a length of time that is written as "1m30s", in the form of
// [time.ParseDuration].
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes d as [time.Duration.String] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [time.ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// certificatesFlag is the flag --tls-sni-cert-key of kube-apiserver. The first
// use replaces the default, each other one adds to it.
type certificatesFlag struct {
	to  *[]NamedCertificate
	set bool
}

func (f *certificatesFlag) Type() string { return "namedCertKey" }

func (f *certificatesFlag) String() string {
	if f.to == nil { // pflag asks a zero value for its default
		return "[]"
	}
	all := make([]string, len(*f.to))
	for i, c := range *f.to {
		all[i] = c.String()
	}
	return "[" + strings.Join(all, ";") + "]"
}

func (f *certificatesFlag) Set(s string) error {
	c, err := parseNamedCertificate(s)
	if err != nil {
		return err
	}
	if !f.set {
		*f.to, f.set = nil, true
	}
	*f.to = append(*f.to, c)
	return nil
}

// String returns c in the form of the flag --tls-sni-cert-key.
func (c NamedCertificate) String() string {
	s := c.CertFile + "," + c.KeyFile
	if len(c.Names) > 0 {
		s += ":" + strings.Join(c.Names, ",")
	}
	return s
}

// parseNamedCertificate reads CERT,KEY or CERT,KEY:NAME,NAME.
func parseNamedCertificate(s string) (NamedCertificate, error) {
	files, names, named := strings.Cut(s, ":")
	pair := splitTrimmed(files)
	if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
		return NamedCertificate{}, fmt.Errorf("%q does not begin with the files CERT,KEY", s)
	}
	c := NamedCertificate{CertFile: pair[0], KeyFile: pair[1]}
	if named {
		if strings.TrimSpace(names) == "" {
			return NamedCertificate{}, errors.New("no names after the colon")
		}
		c.Names = splitTrimmed(names)
	}
	return c, nil
}

func splitTrimmed(s string) []string {
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
