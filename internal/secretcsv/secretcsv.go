// Package secretcsv reads the files in which Kubernetes keeps secrets of users:
// --token-auth-file, and --basic-auth-file of before 1.19. A record is a secret,
// a user name, a UID and, optionally, the groups with commas between them; what
// comes after is passed over.
//
// The one idea: errors and warnings name a record by its number, as Kubernetes
// does, and never what is in it.
//
// It refuses records of less than three columns, and those without a user name.
package secretcsv

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
)

// A Record is one line of a file. Its texts share their memory with the secret:
// whoever keeps one clones it.
type Record struct {
	Number            int // from 1
	Secret, Name, UID string
	// Groups has the groups with commas between them. Grouped tells an empty
	// column from none.
	Groups  string
	Grouped bool
}

// Read gives take each record of a file whose secrets are called kind, such as
// "token", and stops at the first error. A record with an empty secret is passed
// over with a warning.
func Read(data []byte, kind string, take func(Record) error, warn func(text string)) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	for n := 1; ; n++ {
		columns, err := r.Read()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return plain(err)
		case len(columns) < 3:
			return fmt.Errorf("record %d: need at least 3 columns (%s, user name, user uid), found %d", n, kind, len(columns))
		case columns[0] == "":
			warn(fmt.Sprintf("record %d: empty %s, record ignored", n, kind))
			continue
		case columns[1] == "":
			return fmt.Errorf("record %d: empty user name: write whose %s it is", n, kind)
		}
		record := Record{Number: n, Secret: columns[0], Name: columns[1], UID: columns[2]}
		if len(columns) > 3 {
			record.Groups, record.Grouped = columns[3], true
		}
		if err := take(record); err != nil {
			return err
		}
	}
}

// plain returns where and why a file is no CSV. The error of the standard
// library says no more than that, and this keeps it so.
func plain(err error) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d, column %d: %w", p.Line, p.Column, p.Err)
	}
	return err
}
