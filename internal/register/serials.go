package register

import (
	"context"
	"fmt"
	"strings"

	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/pki"
)

// An Index finds rows by another name, as [ledger.Ledger] does.
type Index interface {
	Put(ctx context.Context, rows []ledger.Row) error
	Get(ctx context.Context, name string) (ledger.Row, bool, error)
	Names(ctx context.Context, prefix string) ([]string, error)
}

// serialRow returns the row of the index under which a certificate's entry is
// found, whose value is the name of that entry. It is nil for what is no
// certificate.
func serialRow(e *Entry, entry *ledger.Row) *ledger.Row {
	if e.Serial == "" {
		return nil
	}
	return &ledger.Row{Name: serialName(e.Issuer, e.Serial), Ends: entry.Ends, Value: []byte(entry.Name)}
}

// serialName is the name of a serial number: two authorities may use one.
func serialName(issuer, serial string) string { return serial + "-" + Digest([]byte(issuer)) }

// indexSerials writes the index of the certificates among some entries. It comes
// before the entries: what is asked for between the two is not issued yet.
func (r *Register) indexSerials(ctx context.Context, batch []*waiting) error {
	var rows []ledger.Row
	for _, w := range batch {
		if w.serial != nil {
			rows = append(rows, *w.serial)
		}
	}
	if len(rows) == 0 || r.Serials == nil {
		return nil
	}
	return r.Serials.Put(ctx, rows)
}

// FindSerial returns the entry of the certificate that an issuer, as in
// [identity.Credential], has given a serial number in hexadecimal, or nil if
// there is none.
func (r *Register) FindSerial(ctx context.Context, issuer, serial string) (*Entry, error) {
	return r.find(ctx, serialName(issuer, serial))
}

// find returns the entry of the certificate that has a name in the index.
func (r *Register) find(ctx context.Context, name string) (*Entry, error) {
	row, ok, err := r.Serials.Get(ctx, name)
	if err != nil || !ok {
		return nil, err
	}
	e, err := r.Find(ctx, string(row.Value))
	if err != nil {
		return nil, fmt.Errorf("looking for the certificate %s: %w", name, err)
	}
	return e, nil
}

// FindNumber is [Register.FindSerial] for whatever issuer. It finds no number
// that another CA could have chosen as well: see [pki.ChainOf].
func (r *Register) FindNumber(ctx context.Context, serial string) (*Entry, error) {
	if pki.ChainOf(serial) == "" {
		return nil, nil
	}
	names, err := r.Serials.Names(ctx, serial+"-")
	if err != nil || len(names) != 1 {
		return nil, err
	}
	return r.find(ctx, names[0])
}

// Chain returns the entries of the certificates that were renewed from one
// another: see [pki.ChainOf]. They are in no order.
func (r *Register) Chain(ctx context.Context, chain string) ([]*Entry, error) {
	if chain == "" {
		return nil, nil
	}
	names, err := r.Serials.Names(ctx, chain)
	if err != nil {
		return nil, err
	}
	var all []*Entry
	for _, name := range names {
		if serial, _, _ := strings.Cut(name, "-"); pki.ChainOf(serial) != chain {
			continue
		}
		e, err := r.find(ctx, name)
		if err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, e)
		}
	}
	return all, nil
}
