package explain

import (
	"net/http"
	"reflect"
	"testing"
)

// A header that is spelt in two ways has its values in an order that stays.
func TestHeaderOf(t *testing.T) {
	spec := &Spec{Token: "t", Headers: map[string][]string{
		"x-remote-group": {"c"}, "X-Remote-Group": {"a", "b"}, "x-Remote-group": {"d"}, "X-REMOTE-GROUP": {"0"},
	}}
	want := http.Header{"X-Remote-Group": {"0", "a", "b", "d", "c"}, "Authorization": {"Bearer t"}}
	for range 50 {
		if h, err := headerOf(spec); err != nil || !reflect.DeepEqual(h, want) {
			t.Fatalf("%v, %v, want %v", h, err, want)
		}
	}
	for name, spec := range map[string]*Spec{
		"two credentials":       {Token: "t", Headers: map[string][]string{"authorization": {"Bearer u"}}},
		"more than any request": {Headers: map[string][]string{"X": {string(make([]byte, maxHeader))}}},
	} {
		if h, err := headerOf(spec); err == nil {
			t.Errorf("%s: %d headers", name, len(h))
		}
	}
}

func TestWithoutProxy(t *testing.T) {
	others := []Rung{{Method: "X509", Found: "passed"}}
	proxy := []Rung{{Method: "FrontProxy", Found: "passed"}}
	for name, tt := range map[string]struct {
		header string
		ladder []Rung
		first  string
	}{
		"a user":            {"X-Remote-User", others, "FrontProxy"},
		"something extra":   {"X-Remote-Extra-Team", others, "FrontProxy"},
		"nobody is asked":   {"X-Remote-User", nil, "FrontProxy"},
		"something else":    {"X-Remote", others, "X509"},
		"a proxy is there":  {"X-Remote-User", proxy, "FrontProxy"},
		"another authority": {"Authorization", others, "X509"},
	} {
		got := withoutProxy(http.Header{tt.header: {"x"}}, tt.ladder)
		told := len(got) > 0 && got[0].Mend != ""
		if got[0].Method != tt.first || told != (len(got) > len(tt.ladder)) || told && name == "a proxy is there" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
