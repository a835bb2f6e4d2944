package authn_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/jwt"
	"gatehouse.dev/gatehouse/authn/verified"
)

// Tokens are read in memory that is used again, and many at the same time; why they
// were refused may be asked later.
func TestLadderOutlivesTheReading(t *testing.T) {
	d := newDoor(t)
	people, err := jwt.New([]string{"api"}, jwt.Issuer{
		URL: "https://issuer.example.org", Audiences: []string{"api"}, Algorithms: []string{"ES256"}, Keys: new(jwt.Keys),
		Identify: jwt.Mapping{UsernameClaim: "sub"}.Identify,
	})
	if err != nil {
		t.Fatal(err)
	}
	all := authn.Tokens(d.sa, people)
	table, err := verified.NewResults(8)
	if err != nil {
		t.Fatal(err)
	}
	remembering := verified.Tokens(table, authn.AnyBearer, all)

	const later = 4_000_000_000
	good := d.token(t)
	var mu sync.Mutex
	var late []error
	var want [][]authn.Rung
	present := func(i int) {
		for _, claims := range []string{
			fmt.Sprintf(`{"iss":"https://stranger-%d.example.org"}`, i),
			fmt.Sprintf(`{"iss":"https://issuer.example.org","aud":"app-%d"}`, i),
			fmt.Sprintf(`{"iss":"https://issuer.example.org","aud":"api","exp":%d,"jti":"%d"}`, later+i, i),
			fmt.Sprintf(`{"iss":"https://issuer.example.org","iss":"%d"}`, i),
			fmt.Sprintf(`{"iss":"api","jti":"%d"}`, i),
			fmt.Sprintf(`{"iss":%d}`, i),
			"",
		} {
			token := unsigned(fmt.Sprintf(`{"alg":"ES256","kid":"key-%d"}`, i%3), claims)
			_, err := remembering.VerifyToken(t.Context(), token, nil)
			_, anew := all.VerifyToken(t.Context(), token, nil)
			mu.Lock()
			late, want = append(late, err), append(want, authn.Ladder(anew))
			mu.Unlock()
		}
		if _, err := remembering.VerifyToken(t.Context(), good, nil); err != nil {
			t.Error(err)
		}
	}
	var work sync.WaitGroup
	for i := range 50 {
		work.Go(func() { present(i) })
	}
	work.Wait()
	for i, err := range late {
		if got := authn.Ladder(err); len(got) == 0 || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%v:\n%+v, want\n%+v", err, got, want[i])
		}
	}
}

// unsigned is a token whose signature nobody has made.
func unsigned(header, claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(header)) + "." + part([]byte(claims)) + "." + part(make([]byte, 64))
}

// A token that is not ours costs little, whatever is in it.
func TestStrangersCostLittle(t *testing.T) {
	d := newDoor(t)
	r := d.bearer(unsigned(`{"alg":"ES256","kid":"k"}`, `{"iss":"https://stranger.example.org","groups":["a","b","c"],"sub":"x"}`))
	const want = 4 // the context, what the one says who reads it, and the two errors
	least := 100.
	for range 100 { // the race detector empties pools at random
		least = min(least, testing.AllocsPerRun(1, func() { d.chain.Authenticate(r) }))
	}
	if least > want {
		t.Errorf("%v allocations, want %d", least, want)
	}
}
