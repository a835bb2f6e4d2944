package fieldname_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/fieldname"
)

func TestNames(t *testing.T) {
	for _, test := range []struct {
		a, b          string
		equal, prefix bool
	}{
		{"X-Remote-User", "x-remote-user", true, true},
		{"x_ReMoTe_uSeR", "X-Remote-User", true, true},
		{"X-Remote-User", "X_Remote_", false, true},
		{"X-Remote-Users", "X-Remote-User", false, true},
		{"X-Remote", "X-Remote-User", false, false},
		{"X.Remote.User", "X-Remote-User", false, false},
		{"XRemoteUser", "X-Remote-User", false, false},
		{"X-Remote-Üser", "X-Remote-üser", false, false},
		{"", "", true, true},
	} {
		if fieldname.Equal(test.a, test.b) != test.equal || fieldname.HasPrefix(test.a, test.b) != test.prefix {
			t.Errorf("%q and %q: equal %v, prefix %v", test.a, test.b, !test.equal, !test.prefix)
		}
	}
}

func claims(name string) bool { return fieldname.HasPrefix(name, "Impersonate-") }

func TestRemove(t *testing.T) {
	h := http.Header{"Impersonate-User": {"a"}, "impersonate_user": {"b"}, "IMPERSONATE-x": {"c"}, "Impersonated": {"d"}, "Accept": {"*/*"}}
	fieldname.Remove(h, claims)
	if want := (http.Header{"Impersonated": {"d"}, "Accept": {"*/*"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("left %v, want %v", h, want)
	}
}

func TestUnlist(t *testing.T) {
	for _, test := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"Upgrade"}, []string{"Upgrade"}},
		{[]string{"keep-alive,  Upgrade", "close"}, []string{"keep-alive,  Upgrade", "close"}},
		{[]string{"Impersonate-User"}, nil},
		{[]string{"Upgrade, impersonate-GROUP"}, []string{"Upgrade"}},
		{[]string{"Impersonate_Uid,close", " ,\tImpersonate-User\t"}, []string{"close"}},
	} {
		h := http.Header{"Connection": test.in}
		if test.in == nil {
			h = http.Header{}
		}
		fieldname.Unlist(h, claims)
		if got := h["Connection"]; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: left %q, want %q", test.in, got, test.want)
		}
	}
}

func TestNothingToDoCostsNothing(t *testing.T) {
	h := http.Header{"Connection": {"keep-alive, Upgrade"}, "Accept": {"*/*"}}
	if n := testing.AllocsPerRun(100, func() {
		fieldname.Remove(h, claims)
		fieldname.Unlist(h, claims)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzUnlist(f *testing.F) {
	f.Add("Upgrade, Impersonate-User")
	f.Add(",, impersonate_uid\t,close")
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Connection": {value}}
		fieldname.Unlist(h, claims)
		for _, v := range h["Connection"] {
			for _, option := range strings.Split(v, ",") {
				if claims(strings.TrimSpace(option)) {
					t.Errorf("%q leaves %q", value, option)
				}
			}
		}
	})
}

// FuzzHasPrefix compares with the obvious way to say it.
func FuzzHasPrefix(f *testing.F) {
	for _, seed := range []string{"X-Remote-User", "x_remote_user", "X-Remote", "X-Remote-", "X\u212aRemote-User", "Impersonate_User", "", "\xff-remote-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, strings.ReplaceAll(name, "_", "-"))
		for _, prefix := range []string{"X-Remote-", "impersonate-"} {
			if got, want := fieldname.HasPrefix(name, prefix), strings.HasPrefix(folded, strings.ToLower(prefix)); got != want {
				t.Errorf("HasPrefix(%q, %q) = %v", name, prefix, got)
			}
		}
	})
}
