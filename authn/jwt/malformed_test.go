package jwt_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/oidc"
)

// A payload that two parsers could read differently is nobody's.
func TestAmbiguousPayload(t *testing.T) {
	p := oidc.New(t, url)
	v := verifier(t, issuer(t, p))
	good, err := json.Marshal(p.Claims(audience, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{
		`{"sub":"admin",` + string(good[1:]),
		`{"iss":"https://other",` + string(good[1:]),
		string(good) + `{}`,
		`[` + string(good) + `]`,
		strings.Replace(string(good), `"sub"`, `"\u0073ub":"admin","sub"`, 1),
		strings.Replace(string(good), "jane", "ja\xffne", 1),
	} {
		if got := outcome(v.VerifyToken(t.Context(), p.Keys[0].Token(t, []byte(payload)), nil)); !strings.HasPrefix(got, "pass: ") {
			t.Errorf("%s: %s", payload, got)
		}
	}
	// Members whose names differ in case are others, unlike in encoding/json.
	other := `{"SUB":"admin","Aud":"x","ISS":"y",` + string(good[1:])
	if got := outcome(v.VerifyToken(t.Context(), p.Keys[0].Token(t, []byte(other)), nil)); got != "o:jane" {
		t.Errorf("names in capitals: %s", got)
	}
}

// A token of an issuer that is not known is read no farther than that, and that is
// what is said of it, whatever else is wrong with it; for there is nothing to mend
// before that is. One of an issuer that is known is read whole.
func TestMalformed(t *testing.T) {
	p := oidc.New(t, url)
	v := verifier(t, issuer(t, p))
	const foreign, header = `JWT: no issuer "https://other" is configured`, `{"alg":"ES256","kid":"k1"}`
	for _, tt := range []struct{ name, header, payload, signature, ours, others string }{
		{"members of one name", header, `{"iss":"ISS","a":1,"a":2}`, "0000", "payload: JSON: a second member of the same name", foreign},
		{"two issuers", header, `{"iss":"ISS","iss":"x"}`, "0000", "payload: JSON: a second member of the same name", foreign},
		{"cut off", header, `{"iss":"ISS","a":`, "0000", "payload: JSON: no value", foreign},
		{"text behind it", header, `{"iss":"ISS"}x`, "0000", "payload: JSON: text after the end", foreign},
		{"no signature", header, `{"iss":"ISS"}`, "", "token has no signature", foreign},
		{"signature with padding", header, `{"iss":"ISS"}`, "00==", "signature: not canonical", foreign},
		{"two signatures", header, `{"iss":"ISS"}`, "0000.0000", "token has not three parts", "token has not three parts"},
		{"members of one name before", header, `{"a":1,"a":2,"iss":"ISS"}`, "0000", "payload: JSON: a second member", "payload: JSON: a second member"},
		{"cut off before", header, `{"a":{"iss":"ISS"}`, "0000", "payload: JSON: no comma", "payload: JSON: no comma"},
		{"header that decides", `{"alg":"ES256","jku":"x"}`, `{"iss":"ISS"}`, "0000", `header: "jku" is not allowed`, `header: "jku" is not allowed`},
	} {
		for iss, want := range map[string]string{url: tt.ours, "https://other": tt.others} {
			encode := base64.RawURLEncoding.EncodeToString
			token := encode([]byte(tt.header)) + "." + encode([]byte(strings.ReplaceAll(tt.payload, "ISS", iss))) + "." + tt.signature
			res, err := v.VerifyToken(t.Context(), token, nil)
			if want != foreign {
				want = "JWT: the token is no signed JWT: " + want
			}
			if got := outcome(res, err); !strings.HasPrefix(got, "pass: "+want) {
				t.Errorf("%s, of %s: %s, want %s", tt.name, iss, got, want)
			}
		}
	}
}
