package externaljwt_test

import (
	"encoding/json"
	"testing"

	"gatehouse.dev/gatehouse/internal/externaljwt"
	"gatehouse.dev/gatehouse/test/vectors"
)

// Every text of the JSON test suite in the header of a token.
func TestHeadersAreJSON(t *testing.T) {
	for _, document := range []string{"%", `{"alg":"ES256","kid":%,"typ":"JWT"}`, `{"alg":"ES256","kid":"k","typ":"JWT","more":%}`} {
		vectors.JSON(t).Check(t, document, false, func(text []byte) error {
			_, _, _, err := externaljwt.ParseHeader(text)
			return err
		})
	}
}

func TestHeaderSaysOneThing(t *testing.T) {
	for text, good := range map[string]bool{
		`{"alg":"ES256","kid":"k","typ":"JWT"}`: true,
		` {"kid":"k","alg":"ES256"} `:           true,
		`{"alg":"ES256","kid":"k","kid":"l"}`:   false,
		`{"alg":"ES256","kid":"k","KID":"l"}`:   false,
		`{"Alg":"ES256"}`:                       false,
		`{"alg":"ES256","crit":["x"]}`:          false,
		`{"alg":"ES256","kid":"k"}{}`:           false,
		`{"alg":"ES256","kid":7}`:               false,
		`{"alg":"ES256"`:                        false,
		`["ES256"]`:                             false,
	} {
		if _, _, _, err := externaljwt.ParseHeader([]byte(text)); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzHeader shows that another reader reads the same.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(`{"alg":"ES256","kid":"k","typ":"JWT"}`))
	f.Add([]byte(`{"alg":"\u0045S256","kid":null}`))
	f.Add([]byte(`{"kid":"a","kid":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		algorithm, key, kind, err := externaljwt.ParseHeader(text)
		if err != nil {
			return
		}
		var other map[string]any
		if err := json.Unmarshal(text, &other); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for name, value := range map[string]string{"alg": algorithm, "kid": key, "typ": kind} {
			if got, _ := other[name].(string); got != value {
				t.Errorf("%q: %s is %q here, and %q elsewhere", text, name, value, got)
			}
		}
	})
}
