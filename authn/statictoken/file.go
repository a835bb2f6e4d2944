package statictoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/secretcsv"
)

// A digester makes digests of tokens under one key.
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

// name returns what [identity.Credential] calls a token. It is the same on every
// replica and tells nothing about the token. Half of the digest is enough.
func (d *digester) name(token string) string {
	sum := d.sum(token)
	return "TOKEN=" + hex.EncodeToString(sum[sha256.Size/2:])
}

// contents is what one reading of the file found: a table of tokens, or a map of
// hashed ones.
type contents struct {
	table    *table
	tokens   map[digest]*authn.Result
	warnings []string
	// inForce ends when another reading takes effect, and with it every
	// verification that rests on this one.
	inForce *authn.Generation
	rests   []authn.Stamp // of inForce, for all results
}

func newContents() *contents {
	c := &contents{inForce: new(authn.Generation)}
	c.rests = []authn.Stamp{c.inForce.Stamp()}
	return c
}

// read parses a token file: records of a token, a user name, a UID and,
// optionally, the groups with commas between them. Errors and warnings name the
// record by its number, as Kubernetes does, and never what is in it.
func (v *Verifier) read(data []byte) (*contents, error) {
	c := newContents()
	var err error
	if c.table, err = newTable(); err != nil {
		return nil, err
	}
	err = secretcsv.Read(data, "token", c.add, func(text string) { c.warnings = append(c.warnings, text) })
	if err != nil {
		return nil, err
	}
	c.table.settle()
	return c, nil
}

// add takes one record.
func (c *contents) add(r secretcsv.Record) error {
	if c.table.put(r.Secret, r.Name, r.UID, r.Groups) {
		c.warn("record %d: duplicate token, the earlier record is ignored", r.Number)
	}
	if r.Grouped {
		for g := range strings.SplitSeq(r.Groups, ",") {
			if g == "" {
				c.warn("record %d: empty group name, group ignored", r.Number)
			}
		}
	}
	return nil
}

func (c *contents) warn(format string, n int) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, n))
}
