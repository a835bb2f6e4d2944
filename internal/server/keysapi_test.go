package server_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/server"
	"gatehouse.dev/gatehouse/test/vectors"
)

// What is asked of the keys is read as it is written.
func TestKeyRetirementIsReadStrictly(t *testing.T) {
	for body, good := range map[string]bool{
		`{"id":"aaaaaa"}`: true, `{"id":"aaaaaa","now":true}`: true, ` {} `: true,
		`{"id":"aaaaaa","ID":"bbbbbb"}`: false, `{"id":"aaaaaa","id":"bbbbbb"}`: false, `{"Now":true}`: false, `{"id":"aaaaaa"}garbage`: false,
		`{"id":"aaaaaa"}{}`: false, `{"id":1}`: false, `[]`: false, ``: false, `{"id":"aaaaaa"`: false, `{"why":"x"}`: false,
	} {
		if err := server.ReadStrictly(strings.NewReader(body), &server.KeyRetirement{}); (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// FuzzKeyRetirement shows that what is taken says the same to every reader.
func FuzzKeyRetirement(f *testing.F) {
	for _, seed := range []string{`{"id":"aaaaaa","now":true}`, `{"id":"a","ID":"b"}`, `{"id":"\u0061"}`, `null`, `{"now":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var asked, again server.KeyRetirement
		if server.ReadStrictly(bytes.NewReader(body), &asked) != nil {
			return
		}
		plain := json.NewDecoder(bytes.NewReader(body))
		plain.DisallowUnknownFields()
		if err := plain.Decode(&again); err != nil || asked != again {
			t.Errorf("%q: %+v, and %+v to another reader: %v", body, asked, again, err)
		}
	})
}

// Every text of the JSON test suite in what is asked of the keys.
func TestKeyRequestsAreJSON(t *testing.T) {
	for _, document := range []string{"%", `{"id":%}`, `{"id":"a","now":%}`, `{"id":"a","more":%}`} {
		vectors.JSON(t).Check(t, document, false, func(body []byte) error {
			return server.ReadStrictly(bytes.NewReader(body), &server.KeyRetirement{})
		})
	}
}
