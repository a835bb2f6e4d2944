package peers_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/test/authority"
	"gatehouse.dev/gatehouse/test/env"
)

// authentication is an AuthenticationConfiguration with one issuer.
func authentication(t *testing.T, issuer string, site *authority.Authority, mappings string) string {
	t.Helper()
	ca, err := json.Marshal(env.Read(t, site.File))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[{
"issuer":{"url":%q,"audiences":["kubernetes"],"certificateAuthority":%s},"claimMappings":%s}]}`, issuer, ca, mappings)
}

// ask posts a form to the token endpoint of a provider, and returns the answer.
func (c *caller) ask(endpoint, client string, form url.Values) (map[string]any, error) {
	r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(client, "s3cret")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %v", res.Status, answer)
	}
	return answer, nil
}

// keyOf returns the ID of the key that signed a token.
func keyOf(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header.Kid
}

// spoiled returns a token whose signature is one bit off.
func spoiled(t *testing.T, token string) string {
	t.Helper()
	at := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil {
		t.Fatal(err)
	}
	signature[len(signature)/2] ^= 1
	return token[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

// A crowd logs in all the time, with any of the tokens that were issued so far.
type crowd struct {
	mu     sync.Mutex
	tokens []string
	logins map[string]int // by the key of the token

	done chan struct{}
	all  sync.WaitGroup
}

// gather starts a crowd at a server, each of whom has to be want. It issues more
// tokens as it goes. End has to be called.
func gather(t *testing.T, address, want string, issue func() (string, error)) *crowd {
	t.Helper()
	c := &crowd{logins: map[string]int{}, done: make(chan struct{})}
	first, err := issue()
	if err != nil {
		t.Fatalf("getting a token: %v", err)
	}
	c.tokens = []string{first}
	c.all.Go(func() { c.repeat(200*time.Millisecond, func() { c.more(t, issue) }) })
	for range 8 {
		guest := newCaller(t, "", "")
		c.all.Go(func() {
			c.repeat(20*time.Millisecond, func() {
				token := c.pick()
				if got, err := guest.whoami(address, bearer(token)); got != want || err != nil {
					t.Errorf("a token of key %s: %s, %v, want %s", keyOf(t, token), got, err, want)
				}
				c.mu.Lock()
				c.logins[keyOf(t, token)]++
				c.mu.Unlock()
			})
		})
	}
	return c
}

// annoy has a stranger present what a token says, as of keys that nobody has,
// twice a second without waiting for an answer.
func (c *crowd) annoy(t *testing.T, address, token string) {
	t.Helper()
	stranger := newCaller(t, "", "")
	said := token[strings.IndexByte(token, '.'):]
	made := 0
	c.all.Go(func() {
		c.repeat(500*time.Millisecond, func() {
			made++
			header := fmt.Sprintf(`{"alg":"ES256","kid":"made up %d"}`, made)
			forged := base64.RawURLEncoding.EncodeToString([]byte(header)) + said
			c.all.Go(func() {
				if got, err := stranger.whoami(address, bearer(forged)); got != "401 Unauthorized" || err != nil {
					t.Errorf("a stranger: %s, %v", got, err)
				}
			})
		})
	})
}

// repeat leaves the machine time for something else in between.
func (c *crowd) repeat(pause time.Duration, f func()) {
	for {
		f()
		select {
		case <-c.done:
			return
		case <-time.After(pause):
		}
	}
}

func (c *crowd) more(t *testing.T, issue func() (string, error)) {
	token, err := issue()
	if err != nil {
		t.Errorf("getting a token: %v", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, token)
}

// pick returns the newest token half the time, so that a new key is met at once.
func (c *crowd) pick() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rand.N(2) == 0 {
		return c.tokens[len(c.tokens)-1]
	}
	return c.tokens[rand.N(len(c.tokens))]
}

// keys returns those that many have logged in with, in order.
func (c *crowd) keys() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for key, n := range c.logins {
		if n >= 100 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// end waits until nobody logs in any more.
func (c *crowd) end(t *testing.T) {
	t.Helper()
	close(c.done)
	c.all.Wait()
	t.Logf("logins by key: %v", c.logins)
}
