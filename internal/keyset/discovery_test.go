package keyset_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/test/vectors"
)

// Every text of the JSON test suite as a member of a discovery document.
func TestDiscoveryReadsJSON(t *testing.T) {
	refused := 0
	for name, text := range vectors.JSON(t).Parsing {
		document := `{"issuer":"` + issuer + `","more":` + string(text) + `,"jwks_uri":"https://a/keys"}`
		_, err := keyset.ParseDiscovery([]byte(document), issuer)
		if err != nil {
			refused++
		}
		if name[0] == 'n' && err == nil {
			t.Errorf("%s: %q is accepted", name, text)
		}
		if name[0] == 'y' && err != nil {
			t.Errorf("%s: %q is refused: %v", name, text, err)
		}
	}
	if refused < 150 {
		t.Errorf("%d texts refused: the suite was not read", refused)
	}
}

func FuzzDiscovery(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://issuer.example.org","jwks_uri":"https://issuer.example.org/keys"}`))
	f.Add([]byte(`{"issuer":"https://issuer.example.org","jwks_uri":"http://a"}`))
	f.Add([]byte(`{"issuer":1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keysURL, err := keyset.ParseDiscovery(text, issuer)
		if err == nil && !strings.HasPrefix(strings.ToLower(keysURL), "https://") {
			t.Errorf("the keys are at %q", keysURL)
		}
	})
}

// Whatever a provider says about its keys, they are looked at again, and not all
// the time.
func FuzzFreshness(f *testing.F) {
	f.Add("max-age=600, must-revalidate", "10", "")
	f.Add("no-store", "", "Thu, 01 Jan 2026 00:00:00 GMT")
	f.Add(`private, MAX-AGE="99999999999"`, "-1", "0")
	f.Add("max-age", "4294967296", "Fri, 31 Dec 9999 23:59:59 GMT")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, control, age, expires string) {
		h := http.Header{"Cache-Control": {control}, "Age": {age}, "Expires": {expires}}
		if got := keyset.Freshness(h, now); got < time.Minute || got > time.Hour {
			t.Errorf("%v is fresh for %v", h, got)
		}
	})
}
