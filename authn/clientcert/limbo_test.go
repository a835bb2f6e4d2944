package clientcert_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn/clientcert"
)

// A limboCase is one of x509-limbo's. Certificates are indices.
type limboCase struct {
	ID, Kind, Expected string
	Time               *time.Time
	Trusted            []int
	Intermediate       []int
	Peer               int
}

// A judgement is what becomes of a case: whether it is accepted, a part of what
// the refusal says, and why, if the suite expects the opposite of a server.
type judgement struct {
	verdict, says, differs string
}

// A signedOff line of testdata/limbo.txt has two of them: as the chain is, and
// as it would be judged if the usages that its certificates are restricted to
// were those of clients. The second is empty where it would be the first again.
type signedOff struct {
	asIs, anyUsage judgement
}

// TestLimbo presents the chains of x509-limbo as those of clients. Nearly all
// are of servers, and refused as such; so each is presented once more with the
// extended key usages set aside, for the table to say what else is judged.
func TestLimbo(t *testing.T) {
	certs, cases := readLimbo(t)
	table := readSignedOff(t)
	if len(cases) != 208 || len(table) != len(cases) {
		t.Fatalf("%d cases and %d lines, want 208 of each", len(cases), len(table))
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			want, known := table[c.ID]
			if !known {
				t.Fatal("the table does not have it")
			}
			second := want.anyUsage
			if second == (judgement{}) {
				second = want.asIs
			} else if second == want.asIs {
				t.Error("the second judgement is the first again: leave it out")
			}
			synctest.Test(t, func(t *testing.T) { want.asIs.check(t, c, c.present(t, certs, false)) })
			synctest.Test(t, func(t *testing.T) { second.check(t, c, c.present(t, certs, true)) })
		})
	}
}

// check compares with what a case has come to. What it prints is the columns
// of the table.
func (want judgement) check(t *testing.T, c limboCase, err error) {
	t.Helper()
	got, says := "accepted", ""
	if err != nil {
		got, says = "refused", err.Error()
	}
	// An empty part would be in whatever a refusal says.
	if got != want.verdict || (says == "") != (want.says == "") || !strings.Contains(says, want.says) {
		t.Errorf("%s\t%s\t%s, want %s\t%s", c.ID, got, says, want.verdict, want.says)
	}
	if agrees := (got == "accepted") == (c.Expected == "SUCCESS"); agrees != (want.differs == "") {
		t.Errorf("%s\tagrees with the suite: %v, but the table says %q", c.ID, agrees, want.differs)
	}
}

// present returns why a client with the chain is refused, with the extended key
// usages of what it presents set aside if anyUsage. Most certificates name no
// user: one whose only fault is that counts as accepted.
func (c limboCase) present(t *testing.T, all [][]byte, anyUsage bool) error {
	var certs []*x509.Certificate
	for _, i := range append([]int{c.Peer}, c.Intermediate...) {
		cert, err := x509.ParseCertificate(all[i])
		if err != nil {
			return err // as crypto/tls would in the handshake
		}
		if anyUsage { // the signature is of what was read
			cert.ExtKeyUsage, cert.UnknownExtKeyUsage = nil, nil
		}
		certs = append(certs, cert)
	}
	var roots []*x509.Certificate
	for _, i := range c.Trusted {
		roots = append(roots, &x509.Certificate{Raw: all[i]})
	}
	at := certs[0].NotBefore.Add(24 * time.Hour)
	if c.Time != nil {
		at = *c.Time
	}
	// The clock of the bubble begins in 2000, and runs by itself.
	time.Sleep(time.Until(at))
	path := t.TempDir() + "/ca.pem"
	replace(t, path, pemOf(roots...))
	b, err := clientcert.OpenBundle(path, nil)
	if err != nil {
		return err
	}
	_, err = clientcert.New(b).Authenticate(request(certs...))
	if err != nil && strings.Contains(err.Error(), "names no user: the subject has no common name") {
		return nil
	}
	return err
}

func readLimbo(t *testing.T) ([][]byte, []limboCase) {
	t.Helper()
	f, err := os.Open("testdata/limbo.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Certs [][]byte
		Cases []limboCase
	}
	if err := errors.Join(json.NewDecoder(z).Decode(&suite), z.Close()); err != nil {
		t.Fatal(err)
	}
	return suite.Certs, suite.Cases
}

// readSignedOff reads the table: a case, and the three columns of each judgement,
// with tabs between.
func readSignedOff(t *testing.T) map[string]signedOff {
	t.Helper()
	data, err := os.ReadFile("testdata/limbo.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]signedOff{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line+strings.Repeat("\t", 6), "\t")
		if _, twice := table[columns[0]]; twice {
			t.Errorf("%s is in the table twice", columns[0])
		}
		table[columns[0]] = signedOff{
			asIs:     judgement{columns[1], columns[2], columns[3]},
			anyUsage: judgement{columns[4], columns[5], columns[6]},
		}
	}
	return table
}
