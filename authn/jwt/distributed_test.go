package jwt_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/test/oidc"
)

// Of what failed nothing is left two seconds later, whether more fails or not, and
// whether the issuers are still those: it explains itself by the token.
func TestFailuresAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := oidc.New(t, url)
		i := issuer(t, p)
		i.Distributed = "groups"
		fetched := 0
		i.Fetch = func(context.Context, string, string) (string, error) {
			fetched++
			return "", errors.New("not there")
		}
		v := verifier(t, i)
		fail := func(id int) {
			_, err := v.VerifyToken(t.Context(), p.Token(t, audience, map[string]any{
				"jti": fmt.Sprint(id), "iat": 1, "exp": time.Now().Add(24 * time.Hour).Unix(),
				"_claim_names":   map[string]string{"groups": "src"},
				"_claim_sources": map[string]any{"src": map[string]string{"endpoint": "https://issuer.example.org/groups"}},
			}), nil)
			if err == nil {
				t.Fatal("let in without the claim")
			}
		}
		for round := range 3 {
			fetched = 0
			for id := range 100 {
				fail(id)
			}
			time.Sleep(time.Second / 2)
			fail(100)
			if n := v.Failed(); n != 101 || fetched != 101 {
				t.Errorf("round %d: %d are remembered of %d", round, n, fetched)
			}
			time.Sleep(3 * time.Second / 4)
			synctest.Wait()
			if n := v.Failed(); n != 1 {
				t.Errorf("round %d: then %d, want the last one", round, n)
			}
			if err := v.Replace(i); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n := v.Failed(); n != 0 {
				t.Errorf("round %d: %d are left", round, n)
			}
		}
	})
}
