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
