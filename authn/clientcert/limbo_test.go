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

// A signedOff line of testdata/limbo.txt says what becomes of a case, with the
// words of the refusal, and why that differs from what the suite expects of a
// server's certificate.
type signedOff struct {
	verdict, says, differs string
}

// TestLimbo presents the chains of x509-limbo as those of clients. Nearly all
// are of servers, so most are refused as such; the table says of each what else
// there is to it.
func TestLimbo(t *testing.T) {
	certs, cases := readLimbo(t)
	table := readSignedOff(t)
	if len(cases) != 208 || len(table) != len(cases) {
		t.Fatalf("%d cases and %d lines, want 208 of each", len(cases), len(table))
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want, known := table[c.ID]
				if !known {
					t.Fatal("the table does not have it")
				}
				err := c.present(t, certs)
				got := "accepted"
				if err != nil {
					got = "refused"
				}
				if got != want.verdict || err != nil && !strings.Contains(err.Error(), want.says) {
					t.Errorf("%s\t%s\t%v, want %s\t%s", c.ID, got, err, want.verdict, want.says)
				}
				if agrees := (got == "accepted") == (c.Expected == "SUCCESS"); agrees != (want.differs == "") {
					t.Errorf("agrees with the suite: %v, but the table says %q", agrees, want.differs)
				}
			})
		})
	}
}

// present returns why a client with the chain is refused. Most certificates name
// no user: one whose only fault is that counts as accepted.
func (c limboCase) present(t *testing.T, all [][]byte) error {
	peer, err := x509.ParseCertificate(all[c.Peer])
	if err != nil {
		return err // as crypto/tls would in the handshake
	}
	certs := []*x509.Certificate{peer}
	for _, i := range c.Intermediate {
		cert, err := x509.ParseCertificate(all[i])
		if err != nil {
			return err
		}
		certs = append(certs, cert)
	}
	var roots []*x509.Certificate
	for _, i := range c.Trusted {
		roots = append(roots, &x509.Certificate{Raw: all[i]})
	}
	at := peer.NotBefore.Add(24 * time.Hour)
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

// readSignedOff reads the table: a case, its verdict, a part of the refusal and
// why the suite expects otherwise, with tabs between.
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
		columns := strings.Split(line+"\t\t\t", "\t")
		if _, twice := table[columns[0]]; twice {
			t.Errorf("%s is in the table twice", columns[0])
		}
		table[columns[0]] = signedOff{columns[1], columns[2], columns[3]}
	}
	return table
}
