package register_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/fields"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

func inStore(t testing.TB) (*register.Register, *ledger.Ledger, *clientv3.Client) {
	t.Helper()
	e, err := etcd.Start(t.Context(), t.TempDir(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	rows := ledger.New(e.Client(), "/gatehouse/register/")
	return register.New(rows, &counted{}, quiet()), rows, e.Client()
}

func record(t testing.TB, r *register.Register, entries ...*register.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := r.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// population is five credentials; now is 10,000 seconds after 1970.
func population() []*register.Entry {
	digest := func(c string) string { return strings.Repeat(c, 64) }
	ended, soon, late := token(1), token(2), token(3)
	ended.Expires = time.Unix(9_000, 0)
	soon.Expires, soon.Asker = time.Unix(10_600, 0), register.Asker{User: "node", Impersonator: "joe"}
	soon.Bound = &register.Reference{Kind: "Pod", Namespace: "ns", Name: "p", UID: "u"}
	late.Expires, late.User = time.Unix(90_000_000, 0), "system:serviceaccount:other:sa"
	return []*register.Entry{
		ended, soon, late,
		{
			Method: identity.ClientCertificate, ID: "X509SHA256=ff", Digest: digest("c"), Serial: "2a", KeyID: "k", Signer: "example.com/s",
			Issuer: "X509SHA256=ca", User: "ann", Groups: []string{"admins", "ops"}, Asker: register.Asker{User: "ann"},
			Issued: time.Unix(1000, 0), Expires: time.Unix(50_000, 0),
		},
		{
			Method: identity.LegacyServiceAccount, Digest: digest("d"), User: "system:serviceaccount:ns:old", Issued: time.Unix(1000, 0),
			Bound: &register.Reference{Kind: "Secret", Namespace: "ns", Name: "s", UID: "s-uid"},
		},
	}
}

func now() time.Time { return time.Unix(10_000, 0) }

func list(t *testing.T, r *register.Register, q register.Query) (users []string, l register.Listing) {
	t.Helper()
	l, err := r.List(t.Context(), q, func(all []*register.Entry) error {
		for _, e := range all {
			users = append(users, e.User)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return users, l
}

func TestChoose(t *testing.T) {
	r, _, _ := inStore(t)
	all := population()
	record(t, r, all...)
	const ended, soon, ann, late, old = "E", "S", "A", "L", "O"
	letters := map[string]string{all[0].Name(): ended, all[1].Name(): soon, all[2].Name(): late, all[3].Name(): ann, all[4].Name(): old}
	for _, tt := range []struct{ selector, want string }{
		{"", "ESALO"},
		{"status.expired=false", "SALO"},
		{"status.expired!=true", "SALO"},
		{"status.expired=true", "E"},
		{"status.expiringBefore=15m", "ES"},
		{"status.expiringBefore=7d", "ESA"},
		{"status.expiringBefore=7d,status.expired=false", "SA"},
		{"status.expiringBefore!=7d", "LO"},
		{"status.expiringBefore=1970-01-01T02:55:00Z", "E"},
		{"status.user.username=ann", "A"},
		{"status.user.username!=ann,status.expired=false", "SLO"},
		{"status.user.groups=ops", "A"},
		{"status.user.groups=op", ""},
		{"status.user.groups=system:serviceaccounts:ns", "ESO"},
		{"status.user.groups!=system:serviceaccounts", "A"},
		{"status.method=ServiceAccount", "ESL"},
		{"status.method=serviceaccount", ""},
		{"status.requestedBy.username=node", "S"},
		{"status.issuer=https://issuer,status.expired=false", "SL"},
		{"status.credentialID=X509SHA256\\=ff", "A"},
		{"status.keyID=k", "A"},
		{"status.serialNumber=2a", "A"},
		{"status.signerName=example.com/s", "A"},
		{"status.digest=" + strings.Repeat("d", 64), "O"},
		{"metadata.name=" + all[1].Name(), "S"},
	} {
		t.Run(tt.selector, func(t *testing.T) {
			selector, err := fields.ParseSelector(tt.selector)
			if err != nil {
				t.Fatal(err)
			}
			q, err := register.Choose(selector, now())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if _, err := r.List(t.Context(), q, func(found []*register.Entry) error {
				for _, e := range found {
					got += letters[e.Name()]
				}
				return nil
			}); err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, tt := range []struct{ selector, want string }{
		{"status.user=ann", "not supported"}, {"metadata.namespace=x", "not supported"}, {"spec.x=1", "not supported"},
		{"status.expired=maybe", "neither true nor false"}, {"status.expired=", "neither true nor false"},
		{"status.expiringBefore=", "is no time"}, {"status.expiringBefore=soon", "is no time"}, {"status.expiringBefore=-1h", "is no time"},
		{"status.expiringBefore=7", "is no time"}, {"status.expiringBefore=-7d", "is no time"}, {"status.expiringBefore=999999999999d", "is no time"},
		{"status.expiringBefore=4294967295d", "is no time"}, {"status.expiringBefore=2030-13-01T00:00:00Z", "is no time"},
	} {
		selector, err := fields.ParseSelector(tt.selector)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := register.Choose(selector, now()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.selector, err, tt.want)
		}
	}
}

func TestParts(t *testing.T) {
	r, rows, client := inStore(t)
	for i := range 300 {
		e := token(i)
		e.User = fmt.Sprintf("u%03d", i)
		record(t, r, e)
	}
	for _, tt := range []struct {
		name        string
		q           register.Query
		parts, want int
	}{
		{"whole", register.Query{}, 1, 300},
		{"pages", register.Query{Most: 70}, 5, 300},
		{"one page", register.Query{Most: 300}, 1, 300},
		{"some of them", register.Query{Most: 40, Wants: func(e *register.Entry) bool { return strings.HasSuffix(e.User, "7") }}, 1, 30},
		{"some in pages", register.Query{Most: 20, Wants: func(e *register.Entry) bool { return strings.HasSuffix(e.User, "7") }}, 2, 30},
		{"some, with little looking", register.Query{Most: 20, Look: 100, Wants: func(e *register.Entry) bool { return strings.HasSuffix(e.User, "7") }}, 3, 30},
		{"between", register.Query{Most: 10, From: time.Unix(5100, 0), Until: time.Unix(5125, 0)}, 3, 25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[string]bool{}
			parts, q := 0, tt.q
			for {
				users, l := list(t, r, q)
				parts++
				for _, u := range users {
					if seen[u] {
						t.Errorf("%s is shown twice", u)
					}
					seen[u] = true
				}
				if q.Continue = l.Continue; q.Continue == "" {
					break
				}
			}
			if parts != tt.parts || len(seen) != tt.want {
				t.Errorf("%d entries in %d parts, want %d in %d", len(seen), parts, tt.want, tt.parts)
			}
		})
	}

	// A list is of one moment, and says so if that is forgotten.
	first, l := list(t, r, register.Query{Most: 299})
	if err := rows.Remove(t.Context(), []ledger.Row{{Name: "jti-" + jti(299), Ends: time.Unix(5299, 0)}}); err != nil {
		t.Fatal(err)
	}
	if second, _ := list(t, r, register.Query{Most: 299, Continue: l.Continue}); len(first)+len(second) != 300 {
		t.Errorf("%d and %d entries", len(first), len(second))
	}
	if _, err := client.Compact(t.Context(), l.Revision+1); err != nil {
		t.Fatal(err)
	}
	show := func([]*register.Entry) error { return nil }
	if _, err := r.List(t.Context(), register.Query{Continue: l.Continue}, show); !errors.Is(err, ledger.ErrGone) {
		t.Errorf("a moment that is forgotten: %v", err)
	}
	for _, bad := range []string{"x", "!", "e30", "bnVsbA", l.Continue[1:]} {
		if _, err := r.List(t.Context(), register.Query{Continue: bad}, show); !errors.Is(err, register.ErrContinue) {
			t.Errorf("continue %q: %v", bad, err)
		}
	}
	stop := errors.New("stop")
	if _, err := r.List(t.Context(), register.Query{}, func([]*register.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a caller that is gone: %v", err)
	}
}

func TestFind(t *testing.T) {
	r, rows, _ := inStore(t)
	all := population()
	record(t, r, all...)
	if err := rows.Mark(t.Context(), []ledger.Mark{{Name: all[1].Name(), Ends: all[1].Expires, Mark: 5}}); err != nil {
		t.Fatal(err)
	}
	e, err := r.Find(t.Context(), all[1].Name())
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	c := e.Object()
	if c.Name != all[1].Name() || c.Status.LastUsedTime.Unix() != 5*3600 || c.Status.ExpirationTime.Unix() != 10_600 || c.Status.IssueTime.Unix() != 1000 ||
		c.Status.BoundTo.UID != "u" || c.Status.RequestedBy.Impersonator != "joe" || fmt.Sprint(c.Status.User.Groups) != "[system:serviceaccounts system:serviceaccounts:ns]" {
		t.Errorf("%+v", c)
	}
	if e, err := r.Find(t.Context(), all[4].Name()); err != nil || e.Object().Status.ExpirationTime != nil || e.Object().Status.LastUsedTime != nil {
		t.Errorf("one without an end, never used: %+v, %v", e, err)
	}
	for _, name := range []string{"", "x", "jti-" + jti(9), "a/b", "../name"} {
		if e, err := r.Find(t.Context(), name); e != nil || err != nil {
			t.Errorf("Find(%q) = %v, %v", name, e, err)
		}
	}
}

// Whatever a client sends as the place to go on from, it is one that was handed
// out, or refused.
func FuzzContinue(f *testing.F) {
	encode := base64.RawURLEncoding.EncodeToString
	for _, seed := range []string{
		`{"rv":1,"after":"0000002710/jti-1"}`, `{"rv":1,"after":"f"}`, `{"rv":1,"after":"ffffffffff/"}`, `{"rv":1,"after":"zzzzzzzzzz/a"}`,
		`{"rv":0,"after":"0000002710/a"}`, `{"rv":1,"rv":2,"after":"0000002710/a"}`, `{"RV":1,"After":"0000002710/a"}`, `[]`, `{`,
	} {
		f.Add(encode([]byte(seed)))
	}
	f.Add("?")
	r, _, _ := inStore(f)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := r.List(t.Context(), register.Query{Continue: text, Most: 1}, func([]*register.Entry) error { return nil })
		if err != nil && !errors.Is(err, register.ErrContinue) && !errors.Is(err, ledger.ErrGone) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
