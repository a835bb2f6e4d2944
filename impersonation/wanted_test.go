package impersonation_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/impersonation"
)

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name string
		sent http.Header
		want *impersonation.Wanted // nil if refused, or if nothing is asked for
		err  string
	}{
		{"user", http.Header{"Impersonate-User": {"jane"}}, &impersonation.Wanted{Name: "jane"}, ""},
		{"all", http.Header{
			"Impersonate-User": {"jane"}, "Impersonate-Uid": {"7"}, "Impersonate-Group": {"a,b", "", "c"},
			"Impersonate-Extra-Scopes": {"r", ""}, "Impersonate-Extra-Example.org%2fkey": {"v"}, "Impersonate-Extra-%zz": {"raw"},
			"Impersonate-Extra-": {"empty"}, "Impersonate-Extra-None": {},
		}, &impersonation.Wanted{Name: "jane", UID: "7", Groups: []string{"a,b", "", "c"}, Extra: map[string][]string{
			"scopes": {"r", ""}, "example.org/key": {"v"}, "%zz": {"raw"}, "": {"empty"},
		}}, ""},
		{"one key of two names", http.Header{"Impersonate-User": {"j"}, "Impersonate-Extra-A": {"2"}, "Impersonate-Extra-%61": {"1"}},
			&impersonation.Wanted{Name: "j", Extra: map[string][]string{"a": {"1", "2"}}}, ""},
		{"empty UID", http.Header{"Impersonate-User": {"j"}, "Impersonate-Uid": {""}}, &impersonation.Wanted{Name: "j"}, ""},

		{"nothing", http.Header{"Accept": {"*/*"}, "Impersonated": {"x"}}, nil, ""},
		{"empty user", http.Header{"Impersonate-User": {""}}, nil, "without impersonating a user name"},
		{"no value", http.Header{"Impersonate-User": {}}, nil, "without impersonating a user name"},
		{"UID alone", http.Header{"Impersonate-Uid": {"7"}}, nil, "without impersonating a user name"},
		{"empty UID alone", http.Header{"Impersonate-Uid": {""}}, nil, "without impersonating a user name"},
		{"group alone", http.Header{"Impersonate-Group": {"a"}}, nil, "without impersonating a user name"},
		{"extra alone", http.Header{"Impersonate-Extra-A": {"a"}}, nil, "without impersonating a user name"},
		{"two users", http.Header{"Impersonate-User": {"jane", "root"}}, nil, "Impersonate-User is given 2 times"},
		{"two UIDs", http.Header{"Impersonate-User": {"jane"}, "Impersonate-Uid": {"1", "1"}}, nil, "Impersonate-Uid is given 2 times"},
		{"unknown", http.Header{"Impersonate-User": {"jane"}, "Impersonate-Groups": {"a"}}, nil, `"Impersonate-Groups" is not known`},
		{"no name", http.Header{"Impersonate-": {"a"}}, nil, `"Impersonate-" is not known`},
		{"extra without key", http.Header{"Impersonate-Extra": {"a"}}, nil, `"Impersonate-Extra" is not known`},
		{"underscores", http.Header{"Impersonate_user": {"root"}}, nil, `"Impersonate_user" is not known`},
		{"underscore in extra", http.Header{"Impersonate-User": {"j"}, "Impersonate-Extra_a": {"root"}}, nil, `"Impersonate-Extra_a" is not known`},
		{"small letters", http.Header{"impersonate-user": {"root"}}, nil, `"impersonate-user" is not known`},
		{"user not UTF-8", http.Header{"Impersonate-User": {"\xff"}}, nil, "not UTF-8"},
		{"group not UTF-8", http.Header{"Impersonate-User": {"j"}, "Impersonate-Group": {"\xff"}}, nil, "not UTF-8"},
		{"UID not UTF-8", http.Header{"Impersonate-User": {"j"}, "Impersonate-Uid": {"\xff"}}, nil, "not UTF-8"},
		{"key not UTF-8", http.Header{"Impersonate-User": {"j"}, "Impersonate-Extra-%ff": {"a"}}, nil, "not UTF-8"},
		{"value not UTF-8", http.Header{"Impersonate-User": {"j"}, "Impersonate-Extra-A": {"\xff"}}, nil, "not UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := impersonation.Read(test.sent)
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}, "Impersonated": {"x"}}
	want := h.Clone()
	for _, name := range []string{"Impersonate-User", "impersonate_user", "IMPERSONATE-GROUP", "Impersonate-Extra-A", "Impersonate-New"} {
		h[name] = []string{"root"}
	}
	if impersonation.Remove(h); !reflect.DeepEqual(h, want) {
		t.Errorf("left %v", h)
	}
}

// Most requests ask for nothing, and pay nothing.
func TestReadNothingCostsNothing(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"kubectl"}, "Content-Type": {"application/json"}}
	if n := testing.AllocsPerRun(100, func() { _, _ = impersonation.Read(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What asks for somebody is refused or understood, and never overlooked.
func FuzzRead(f *testing.F) {
	f.Add("Impersonate-User", "jane", "Impersonate-Extra-%2f", "a")
	f.Add("Impersonate-Uid", "", "Impersonate-Extra-%zz", "")
	f.Add("impersonate_User", "\xff", "Impersonate-Group", "system:masters")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		h := http.Header{}
		h.Add(name1, value1)
		h.Add(name2, value2)
		asked := impersonation.Claims(name1) || impersonation.Claims(name2)
		want, err := impersonation.Read(h)
		if (want != nil || err != nil) != asked {
			t.Errorf("%v: %+v, %v", h, want, err)
		}
		if want != nil && (want.Name == "" || want.Name != h.Get("Impersonate-User")) {
			t.Errorf("%v became %+v", h, want)
		}
		impersonation.Remove(h)
		if want, err := impersonation.Read(h); want != nil || err != nil {
			t.Errorf("%v keeps what asks for somebody", h)
		}
	})
}

func BenchmarkReadNothing(b *testing.B) {
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"kubectl"}, "Accept-Encoding": {"gzip"}, "Kubectl-Command": {"get"}, "Kubectl-Session": {"x"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := impersonation.Read(h); err != nil {
			b.Fatal(err)
		}
	}
}
