package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// What was written down by a release of before is read, and what clients of before
// read is written: the file has every field, in the order in which it was.
func TestForm(t *testing.T) {
	want, err := os.ReadFile("testdata/explanation.json")
	if err != nil {
		t.Fatal(err)
	}
	var e Explanation
	decoder := json.NewDecoder(bytes.NewReader(want))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		t.Fatal(err)
	}
	wantForm(t, &e, string(want))
	wantForm(t, &Explanation{}, "{\n  \"metadata\": {},\n  \"status\": {\n    \"requests\": null\n  }\n}\n")

	// What is decoded into a copy goes where its pointers, slices and maps lead.
	other := regexp.MustCompile(`"[^"]*"(,?\n)`).ReplaceAllString(string(want), `"other"$1`)
	other = regexp.MustCompile(`"(time|expires)": "other"`).ReplaceAllString(other, `"$1": "2000-01-01T00:00:00.000000Z"`)
	copied := e.DeepCopyObject()
	wantForm(t, copied, string(want))
	if err := json.Unmarshal([]byte(other), copied); err != nil {
		t.Fatal(err)
	}
	wantForm(t, &e, string(want))

	made := ladderOf([]authn.Rung{
		{Method: identity.ClientCertificate, Source: "ca.pem", Found: authn.Passed, Reason: "none"},
		{Method: identity.JWT, Source: "https://issuer", Found: authn.Refused, Reason: "it is expired", Facts: authn.Facts{
			Kind: authn.Expired, Mend: "log in again",
			Checks: []authn.Check{{What: "issuer (iss)", Got: "https://issuer", OK: true}, {What: "expiry (exp)", Got: "then", Want: "after now"}},
		}},
		{Found: authn.Accepted, Who: &identity.Identity{Name: "jane"}},
	})
	if had := e.Status.Requests[0].Ladder; !reflect.DeepEqual(made, had) {
		t.Errorf("the ladder is made as %+v, and was %+v", made, had)
	}
	near := nearestOf(&authz.Near{Binding: "b", Role: "r", Subject: "s", Differs: authz.ByVerb, Has: []string{"list"}, Wants: "get"})
	if had := e.Status.Requests[0].Authorization.Nearest[0]; !reflect.DeepEqual(near, had) {
		t.Errorf("a rule is made as %+v, and was %+v", near, had)
	}
}

func wantForm(t *testing.T, e any, want string) {
	t.Helper()
	got, err := json.MarshalIndent(e, "", "  ")
	if err != nil || string(got)+"\n" != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}
