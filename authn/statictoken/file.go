package statictoken

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
)

// A digest stands for a token. Half of the HMAC finds it, the other half names
// it in [identity.Credential]: neither tells anything about the other.
type digest [sha256.Size / 2]byte

// A digester makes digests under one key.
type digester struct{ macs sync.Pool }

func newDigester(key []byte) *digester {
	key = slices.Clone(key)
	return &digester{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (d *digester) sum(token string) (sum [sha256.Size]byte) {
	mac := d.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte("gatehouse.dev static token\x00"))
	mac.Write([]byte(token))
	mac.Sum(sum[:0])
	d.macs.Put(mac)
	return sum
}

// find returns what finds a token.
func (d *digester) find(token string) digest {
	sum := d.sum(token)
	return digest(sum[:len(digest{})])
}

// named returns what finds a token, and what names it.
func (d *digester) named(token string) (find digest, id string) {
	sum := d.sum(token)
	return digest(sum[:len(find)]), "TOKEN=" + hex.EncodeToString(sum[len(find):])
}

// contents is what one reading of the file found.
type contents struct {
	tokens   map[digest]*authn.Result
	warnings []string
	// inForce ends when another reading takes effect, and with it every
	// verification that rests on this one.
	inForce *authn.Generation
	rests   []authn.Stamp // of inForce, for all results
}

func newContents() *contents {
	c := &contents{tokens: map[digest]*authn.Result{}, inForce: new(authn.Generation)}
	c.rests = []authn.Stamp{c.inForce.Stamp()}
	return c
}

// read parses a token file: records of a token, a user name, a UID and,
// optionally, the groups with commas between them. Errors and warnings name the
// record by its number, as Kubernetes does, and never what is in it.
func (v *Verifier) read(data []byte) (*contents, error) {
	c := newContents()
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	for n := 1; ; n++ {
		record, err := r.Read()
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return nil, plain(err)
		}
		if len(record) < 3 {
			return nil, fmt.Errorf("record %d: need at least 3 columns (token, user name, user uid), found %d", n, len(record))
		}
		if record[0] == "" {
			c.warn("record %d: empty token, record ignored", n)
			continue
		}
		if record[1] == "" {
			return nil, fmt.Errorf("record %d: empty user name: write who the token belongs to", n)
		}
		c.add(v, n, record)
	}
}

// add takes one record. It clones what it keeps, because the strings of a
// record share their memory with the token.
func (c *contents) add(v *Verifier, n int, record []string) {
	find, id := v.digests.named(record[0])
	if c.tokens[find] != nil {
		c.warn("record %d: duplicate token, the earlier record is ignored", n)
	}
	var groups []string
	if len(record) > 3 {
		for _, g := range strings.Split(strings.Clone(record[3]), ",") {
			if g == "" {
				c.warn("record %d: empty group name, group ignored", n)
				continue
			}
			groups = append(groups, g)
		}
	}
	c.tokens[find] = &authn.Result{
		Identity: &identity.Identity{
			Name:       strings.Clone(record[1]),
			UID:        strings.Clone(record[2]),
			Groups:     identity.WithAuthenticated(record[1], groups),
			Credential: identity.Credential{Method: identity.StaticToken, ID: id},
		},
		Audiences: v.audiences,
		Rests:     c.rests,
	}
}

func (c *contents) warn(format string, n int) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, n))
}

// plain returns where and why a CSV file is wrong. The error of the standard
// library says no more than that, and this keeps it so.
func plain(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d, column %d: %w", p.Line, p.Column, p.Err)
	}
	return err
}
