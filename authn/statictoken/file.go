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
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	for n := 1; ; n++ {
		record, err := r.Read()
		if err == io.EOF {
			c.table.settle()
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
		c.add(n, record)
	}
}

// add takes one record.
func (c *contents) add(n int, record []string) {
	groups := ""
	if len(record) > 3 {
		groups = record[3]
	}
	if c.table.put(record[0], record[1], record[2], groups) {
		c.warn("record %d: duplicate token, the earlier record is ignored", n)
	}
	if len(record) > 3 {
		for g := range strings.SplitSeq(groups, ",") {
			if g == "" {
				c.warn("record %d: empty group name, group ignored", n)
			}
		}
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
