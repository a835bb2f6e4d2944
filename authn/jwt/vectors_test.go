package jwt_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"gatehouse.dev/gatehouse/internal/compact"
	"gatehouse.dev/gatehouse/test/oidc"
	"gatehouse.dev/gatehouse/test/vectors"
)

// Every text of the JSON test suite as a member of the claims and of the header
// of a token that is good otherwise. What is signed is no excuse for it.
func TestTokensReadJSON(t *testing.T) {
	p := oidc.New(t, url)
	v := verifier(t, issuer(t, p))
	claims, err := json.Marshal(p.Claims(audience, nil))
	if err != nil {
		t.Fatal(err)
	}
	accepted, refused := 0, 0
	for name, text := range vectors.JSON(t).Parsing {
		head, odd := []byte(`{"alg":"ES256","kid":"k1"}`), []byte(fmt.Sprintf(`,"odd":%s}`, text))
		for _, token := range []string{
			p.Keys[0].Sign(t, head, append(claims[:len(claims)-1:len(claims)-1], odd...)),
			p.Keys[0].Sign(t, append(head[:len(head)-1:len(head)-1], odd...), claims),
		} {
			_, readable := compact.ParseObject(fmt.Appendf(nil, `{"odd":%s}`, text))
			_, err := v.VerifyToken(t.Context(), token, nil)
			if (err == nil) != (readable == nil) || err == nil && name[0] == 'n' {
				t.Errorf("%s: %.100q: %v, alone %v", name, text, err, readable)
			}
			if err == nil {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted < 150 || refused < 400 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
}
