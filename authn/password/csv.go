package password

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"gatehouse.dev/gatehouse/internal/passhash"
	"gatehouse.dev/gatehouse/internal/secretcsv"
)

// OpenCSV reads a file in the format of Kubernetes' former --basic-auth-file:
// records of a password, a user name, a UID and, optionally, the groups with
// commas between them. Of two records with one name the later counts. Notify,
// which may be nil, is called after each later reading: with nil once it is in
// force, or with what is wrong.
//
// The file has the passwords in plain text. In memory there are only digests of
// them, under a key of this process.
func OpenCSV(path string, notify func(error)) (*Source, error) {
	k := digestKey(make([]byte, sha256.Size))
	rand.Read(k)
	return open(path, nil, k.readCSV, notify)
}

// A digestKey makes digests of passwords, which are quick to compare.
type digestKey []byte

// A digest is what is kept of a password in plain text. The name is in it as a
// hash, so that all names take the same time.
type digest struct {
	key  digestKey
	name [sha256.Size]byte
	sum  []byte
}

func (k digestKey) digest(name, password string) digest {
	d := digest{key: k, name: sha256.Sum256([]byte(name))}
	d.sum = d.of(password)
	return d
}

func (d digest) of(password string) []byte {
	mac := hmac.New(sha256.New, d.key)
	mac.Write([]byte("gatehouse.dev password\x00"))
	mac.Write(d.name[:])
	mac.Write([]byte(password))
	return mac.Sum(nil)
}

// Matches implements hash, in constant time.
func (d digest) Matches(password string) bool {
	return hmac.Equal(d.sum, d.of(password))
}

// readCSV parses a file. Errors and warnings name the record by its number, and
// never what is in it but the reserved name.
func (k digestKey) readCSV(data []byte) (*reading, error) {
	out := &reading{decoys: []decoy{{hash: digest{key: k, sum: make([]byte, sha256.Size)}}}}
	at := map[string]int{}
	take := func(r secretcsv.Record) error {
		l, err := out.line(k, r)
		if err != nil {
			return err
		}
		if i, ok := at[l.name]; ok {
			out.warn("record %d: duplicate user name, the earlier record is ignored", r.Number)
			out.lines[i] = l
			return nil
		}
		at[l.name] = len(out.lines)
		out.lines = append(out.lines, l)
		return nil
	}
	err := secretcsv.Read(data, "password", take, func(text string) { out.warnings = append(out.warnings, text) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// line takes one record. It clones what it keeps, because the strings of a
// record share their memory with the password.
func (out *reading) line(k digestKey, r secretcsv.Record) (line, error) {
	n := r.Number
	l := line{name: strings.Clone(r.Name), uid: strings.Clone(r.UID), where: fmt.Sprintf("record %d", n)}
	if r.Grouped {
		for _, g := range strings.Split(strings.Clone(r.Groups), ",") {
			if g == "" {
				out.warn("record %d: empty group name, group ignored", n)
				continue
			}
			l.groups = append(l.groups, g)
		}
	}
	if name := reservedName(l.name, l.groups); name != "" {
		return line{}, fmt.Errorf("record %d: %q begins with %s, which no password may stand for: remove the record, or use another name", n, name, reserved)
	}
	if strings.Contains(l.name, ":") {
		out.warn("record %d: the user name has a colon, so that nobody can log in with it", n)
	}
	d := k.digest(l.name, r.Secret)
	l.hash, l.work, l.print = d, passhash.Work{}, string(d.sum)
	return l, nil
}

func (out *reading) warn(format string, n int) {
	out.warnings = append(out.warnings, fmt.Sprintf(format, n))
}
