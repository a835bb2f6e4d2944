package register

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
)

const (
	// maxText and maxList bound what an entry repeats of what callers have chosen.
	maxText = 512
	maxList = 64
	// idJTI begins the ID of a token.
	idJTI = "JTI="
)

// An Entry is a credential that was issued. The JSON is what is stored: short,
// for there may be a million.
type Entry struct {
	// Method, Issuer, ID, KeyID, Serial and Digest are as in
	// [identity.Credential], where the issuer knows them when it writes the entry.
	Method identity.Method `json:"m"`
	Issuer string          `json:"i,omitempty"`
	ID     string          `json:"id,omitempty"`
	KeyID  string          `json:"k,omitempty"`
	Serial string          `json:"n,omitempty"`
	Digest string          `json:"d,omitempty"`
	// User is for whom the credential is, and Groups those that it says itself.
	// The groups of service accounts follow from their names.
	User   string   `json:"u"`
	UID    string   `json:"ui,omitempty"`
	Groups []string `json:"g,omitempty"`
	// MoreGroups is how many there are besides.
	MoreGroups int `json:"mg,omitempty"`
	// Asker is who asked for it.
	Asker Asker `json:"a"`
	// Bound is what the credential ends with, or nil.
	Bound     *Reference `json:"b,omitempty"`
	Audiences []string   `json:"au,omitempty"`
	// Signer is the name of the signer of a certificate.
	Signer string `json:"s,omitempty"`
	// Renewable is what a renewal of a certificate is held to, or nil if there is
	// none.
	Renewable *Renewable `json:"r,omitempty"`
	// Parent is the name of the entry of the certificate that a certificate was
	// renewed from, or got with of another signer, and First that of the first one
	// of the chain. They are empty for what was got with no certificate.
	Parent string `json:"p,omitempty"`
	First  string `json:"fi,omitempty"`
	// Issued is when the entry was made, and Expires when the credential ends,
	// zero if it does not. Both are to the second.
	Issued  time.Time `json:"-"`
	Expires time.Time `json:"-"`
	// LastUsed is when the credential was last used, to the hour, or zero.
	LastUsed time.Time `json:"-"`
	// Revision is that of the store when the entry was written.
	Revision int64 `json:"-"`

	IssuedUnix int64 `json:"t"`
}

// An Asker is who asked for a credential.
type Asker struct {
	User string `json:"u"`
	UID  string `json:"ui,omitempty"`
	// Method and ID are of the credential that he asked with.
	Method identity.Method `json:"m,omitempty"`
	ID     string          `json:"id,omitempty"`
	// Impersonator is who acted as him.
	Impersonator string `json:"im,omitempty"`
	// Address is where the request came from.
	Address string `json:"ad,omitempty"`
}

// Renewable is what a renewal of a certificate is held to.
type Renewable struct {
	// First is when the first certificate of the chain was signed, in seconds
	// since 1970: what the whole chain's life is counted from.
	First int64 `json:"f"`
	// Holder is the digest of subject, names and usages.
	Holder string `json:"h"`
	// Through are the other signers that the chain came through since a person has
	// approved one of it.
	Through []string `json:"t,omitempty"`
}

// A Reference names an object.
type Reference struct {
	Kind      string `json:"k"`
	Namespace string `json:"ns,omitempty"`
	Name      string `json:"n"`
	UID       string `json:"ui,omitempty"`
}

// AskerOf returns the one that who is, who called from an address.
func AskerOf(who *identity.Identity, address string) Asker {
	if who == nil {
		return Asker{Address: address}
	}
	a := Asker{User: who.Name, UID: who.UID, Method: who.Credential.Method, ID: who.Credential.ID, Address: address}
	if who.Impersonator != nil {
		a.Impersonator = who.Impersonator.Name
	}
	return a
}

// Digest returns how [Entry.Digest] is written: in hexadecimal.
func Digest(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:])
}

// Name returns the name of the entry, or "" if it has nothing to be named by.
func (e *Entry) Name() string { return name(e.Method, e.ID, e.Digest) }

// NameOf returns the name of the entry of a credential, if there is one: what
// other issuers have issued has a name too, and no entry. It is empty for what
// is never issued here.
func NameOf(c *identity.Credential) string { return name(c.Method, c.ID, c.Digest) }

// name is the jti of a token, and the digest of what else is signed. It is not
// the fingerprint of a certificate, for a signature can be written in another way
// and be good.
func name(method identity.Method, id, digest string) string {
	switch method {
	case identity.ServiceAccount:
		if jti, ok := strings.CutPrefix(id, idJTI); ok && isUUID(jti) {
			return "jti-" + jti
		}
	case identity.LegacyServiceAccount:
		if isDigest(digest) {
			return "jws-" + digest
		}
	case identity.ClientCertificate:
		if isDigest(digest) {
			return "x509-" + digest
		}
	default: // is not issued
	}
	return ""
}

// isUUID and isDigest keep out what could not be the name of an object. The jti
// of a foreign token may be anything.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isDigest(s string) bool {
	for i := range len(s) {
		if !isHex(s[i]) {
			return false
		}
	}
	return len(s) == 2*sha256.Size
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// row returns the entry as it is stored.
func (e *Entry) row() (ledger.Row, error) {
	name := e.Name()
	if name == "" {
		return ledger.Row{}, fmt.Errorf("a credential of method %s without an ID or a digest cannot be told from others", e.Method)
	}
	if e.User == "" {
		return ledger.Row{}, errors.New("a credential is for nobody")
	}
	kept := e.bounded()
	kept.IssuedUnix = e.Issued.Unix()
	value, err := json.Marshal(kept)
	if err != nil {
		return ledger.Row{}, fmt.Errorf("encoding the entry: %w", err)
	}
	return ledger.Row{Name: name, Ends: e.Expires, Value: value}, nil
}

// bounded returns the entry with texts and lists of bounded length. The name of
// the user is never cut: it is what the credential is found by.
func (e *Entry) bounded() *Entry {
	b := *e
	if more := len(b.Groups) - maxList; more > 0 {
		b.Groups, b.MoreGroups = b.Groups[:maxList], b.MoreGroups+more
	}
	b.Groups, b.Audiences = cutAll(b.Groups), cutAll(b.Audiences[:min(len(b.Audiences), maxList)])
	b.Issuer, b.UID = cut(b.Issuer), cut(b.UID)
	b.Asker.UID, b.Asker.ID = cut(b.Asker.UID), cut(b.Asker.ID)
	return &b
}

func cutAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = cut(s)
	}
	return out
}

// cut shortens a text, between two characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// read returns the entry of a row.
func read(row *ledger.Row) (*Entry, error) {
	e := &Entry{}
	if err := json.Unmarshal(row.Value, e); err != nil {
		return nil, fmt.Errorf("reading entry %s: %w", row.Name, err)
	}
	e.Issued, e.Expires, e.Revision = time.Unix(e.IssuedUnix, 0).UTC(), row.Ends, row.Revision
	e.mark(row.Mark)
	if ns, _, ok := e.Account(); ok {
		e.Groups = []string{identity.GroupServiceAccounts, identity.ServiceAccountGroupPrefix + ns}
	}
	return e, nil
}

// mark sets when the credential was last used.
func (e *Entry) mark(mark uint32) {
	if mark > 0 {
		e.LastUsed = time.Unix(int64(mark)*int64(hour/time.Second), 0).UTC()
	}
}

// A spooled entry is one in a file, which is written where there is no store.
type spooled struct {
	Expires int64  `json:"expires"`
	Entry   *Entry `json:"entry"`
}

// Spool returns the entry as [ReadSpooled] reads it, for when there is a store.
func (e *Entry) Spool() ([]byte, error) {
	if _, err := e.row(); err != nil {
		return nil, err
	}
	s := spooled{Entry: e.bounded()}
	s.Entry.IssuedUnix = e.Issued.Unix()
	if !e.Expires.IsZero() {
		s.Expires = e.Expires.Unix()
	}
	return json.Marshal(s)
}

// ReadSpooled reads an entry that [Entry.Spool] has written.
func ReadSpooled(text []byte) (*Entry, error) {
	var s spooled
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("reading an entry: %w", err)
	}
	if s.Entry == nil {
		return nil, errors.New("reading an entry: there is none")
	}
	s.Entry.Issued = time.Unix(s.Entry.IssuedUnix, 0).UTC()
	if s.Expires != 0 {
		s.Entry.Expires = time.Unix(s.Expires, 0).UTC()
	}
	return s.Entry, nil
}
