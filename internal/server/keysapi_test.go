package server_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

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

// A key is not published for so long that nobody rotates again.
func TestKeyRotationWaits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0s": 0, "2h": 2 * time.Hour, "720h": 720 * time.Hour,
		"720h1ns": -1, "24000h": -1, "-1s": -1, "2": -1, "2d": -1, "long": -1, "9999999999h": -1,
	} {
		got, err := server.WaitOf(&server.KeyRotation{Wait: text})
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", text, got, err)
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
