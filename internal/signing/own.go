package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/pki/weakkey"
)

// Kinds of keys that a signer of one's own may want.
const (
	RSA     = "RSA"
	ECDSA   = "ECDSA"
	Ed25519 = "Ed25519"
)

// Own are the rules of a signer that is configured. What a list does not name is
// not signed: an empty one allows nothing.
//
// The texts of all lists but the last three are templates: see [Template].
type Own struct {
	CommonNames, Organizations []string
	DNSNames, EmailAddresses   []string
	URIs                       []string
	// IPAddresses are ranges, such as 10.0.0.0/8, or addresses.
	IPAddresses []string
	Usages      []certificatesv1.KeyUsage
	// Keys are kinds of keys, or all if it is empty. MinRSA is the least number of
	// bits of an RSA key, if it is more than what is asked of every key.
	Keys   []string
	MinRSA int
}

// A Mistake is what is wrong with one entry of one list of [Own].
type Mistake struct {
	// Field is the name of the list, as a file of configuration has it.
	Field string
	Entry string
	Cause error
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s: %q: %v", m.Field, m.Entry, m.Cause) }

// own are the rules of [Own], read.
type own struct {
	Own
	commonNames, organizations, dns, emails, uris []Template
	networks                                      []netip.Prefix
}

// Compile returns the rules, or all mistakes in them.
func (o Own) Compile() (Rules, []*Mistake) {
	c := &own{Own: o}
	var mistakes []*Mistake
	wrong := func(field, entry string, err error) {
		if err != nil {
			mistakes = append(mistakes, &Mistake{field, entry, err})
		}
	}
	for _, list := range []struct {
		field string
		texts []string
		kind  kind
		to    *[]Template
	}{
		{"commonNames", o.CommonNames, free, &c.commonNames}, {"organizations", o.Organizations, free, &c.organizations},
		{"dnsNames", o.DNSNames, hostname, &c.dns}, {"emailAddresses", o.EmailAddresses, address, &c.emails}, {"uris", o.URIs, uri, &c.uris},
	} {
		for _, text := range list.texts {
			t, err := parseTemplate(text, list.kind)
			wrong(list.field, text, err)
			*list.to = append(*list.to, t)
		}
	}
	for _, text := range o.IPAddresses {
		prefix, err := parsePrefix(text)
		wrong("ipAddresses", text, err)
		c.networks = append(c.networks, prefix)
	}
	if len(o.CommonNames) == 0 {
		wrong("commonNames", "", errors.New("without one nothing is signed"))
	}
	if slices.Contains(o.Organizations, identity.GroupMasters) {
		wrong("organizations", identity.GroupMasters, errors.New("nothing could take back what that group may do"))
	}
	for _, usage := range o.Usages {
		_, _, err := usages([]certificatesv1.KeyUsage{usage})
		wrong("usages", string(usage), err)
	}
	if len(o.Usages) == 0 {
		wrong("usages", "", errors.New("without one nothing is signed"))
	}
	for _, name := range o.Keys {
		if !slices.Contains([]string{RSA, ECDSA, Ed25519}, name) {
			wrong("keys", name, errors.New("is none of RSA, ECDSA and Ed25519"))
		}
	}
	if o.MinRSA != 0 && (o.MinRSA < weakkey.MinRSA || o.MinRSA > weakkey.MaxRSA) {
		wrong("minRSABits", fmt.Sprint(o.MinRSA), fmt.Errorf("is not from %d to %d", weakkey.MinRSA, weakkey.MaxRSA))
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return c, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("is neither an address nor a range such as 10.0.0.0/8")
	}
	return prefix.Masked(), nil
}

// Check implements [Rules].
func (c *own) Check(r *Request) error {
	asked := r.PKCS10
	for _, a := range asked.Subject.Names {
		if id := a.Type.String(); id != "2.5.4.3" && id != "2.5.4.10" {
			return fmt.Errorf("the subject may have a common name and organizations, and not the attribute %s", id)
		}
	}
	if err := c.name(r, asked.Subject.CommonName); err != nil {
		return err
	}
	for _, group := range asked.Subject.Organization {
		if !matchAny(c.organizations, &r.Requester, group) || group == identity.GroupMasters {
			return fmt.Errorf("the organization %q is not one that the signer signs for this requester", group)
		}
	}
	if err := c.alternatives(r); err != nil {
		return err
	}
	for _, usage := range r.Usages {
		if !slices.Contains(c.Usages, usage) {
			return fmt.Errorf("the usage %q is not one of the signer's, %q", usage, c.Usages)
		}
	}
	return c.key(asked.PublicKey)
}

func (c *own) name(r *Request, name string) error {
	if name == "" {
		return errors.New("the subject has no common name")
	}
	if !matchAny(c.commonNames, &r.Requester, name) {
		return fmt.Errorf("the common name %q is not one that the signer signs for this requester", name)
	}
	return nil
}

func (c *own) alternatives(r *Request) error {
	asked := r.PKCS10
	for _, list := range []struct {
		what      string
		templates []Template
		names     []string
	}{
		{"DNS name", c.dns, asked.DNSNames}, {"email address", c.emails, asked.EmailAddresses},
		{"URI", c.uris, texts(asked.URIs, (*url.URL).String)},
	} {
		for _, name := range list.names {
			if !matchAny(list.templates, &r.Requester, name) {
				return fmt.Errorf("the %s %q is not one that the signer signs for this requester", list.what, name)
			}
		}
	}
	for _, ip := range asked.IPAddresses {
		if !c.inNetworks(ip) {
			return fmt.Errorf("the IP address %s is not in a range of the signer's", ip)
		}
	}
	return nil
}

func (c *own) inNetworks(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && slices.ContainsFunc(c.networks, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

func (c *own) key(public crypto.PublicKey) error {
	kind := ""
	switch key := public.(type) {
	case *rsa.PublicKey:
		kind = RSA
		if bits := key.N.BitLen(); bits < c.MinRSA {
			return fmt.Errorf("the RSA key has %d bits: the signer wants %d", bits, c.MinRSA)
		}
	case *ecdsa.PublicKey:
		kind = ECDSA
	case ed25519.PublicKey:
		kind = Ed25519
	}
	if len(c.Keys) > 0 && !slices.Contains(c.Keys, kind) {
		return fmt.Errorf("the signer wants a key of %s", strings.Join(c.Keys, " or "))
	}
	return nil
}

func matchAny(templates []Template, who *Requester, name string) bool {
	return slices.ContainsFunc(templates, func(t Template) bool { return t.Matches(who, name) })
}
