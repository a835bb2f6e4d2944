package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authz"
	"gatehouse.dev/gatehouse/identity"
)

// shelf is a store in memory, which all processes of a test share.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	down   error
}

func (s *shelf) Life() time.Duration { return time.Hour }

func (s *shelf) Put(_ context.Context, values map[string][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	maps.Copy(s.values, values)
	return nil
}

func (s *shelf) Get(_ context.Context, keys ...string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string][]byte{}
	for _, k := range keys {
		if v, ok := s.values[k]; ok {
			found[k] = v
		}
	}
	return found, s.down
}

func (s *shelf) Below(_ context.Context, prefix string, most int) (keys []string, values [][]byte, all int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if strings.HasPrefix(k, prefix) {
			if all++; all <= most {
				keys, values = append(keys, k), append(values, s.values[k])
			}
		}
	}
	return keys, values, all, s.down
}

var (
	victim   = netip.MustParseAddr("192.0.2.1")
	stranger = netip.MustParseAddr("192.0.2.2")
)

func newBook(store Store, name string) *Book {
	return NewBook(name, store, slog.New(slog.DiscardHandler))
}

// refuse records a refusal of a peer, and returns its ID.
func refuse(b *Book, peer netip.Addr, auditID string) string {
	r := httptest.NewRequest("GET", "/api/v1/pods?access_token=secret", nil)
	r = r.WithContext(authn.WithConn(r.Context(), &authn.Conn{Peer: peer}))
	id := b.NewID()
	b.Refused(id, auditID, r, http.StatusUnauthorized, func() []authn.Rung {
		return []authn.Rung{{Method: identity.JWT, Found: authn.Refused, Reason: "of " + peer.String(), Facts: authn.Facts{Kind: authn.Expired}}}
	})
	return id
}

// run runs the book until the test has called the function that it returns.
func run(b *Book) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}

// A record is found by its ID and by its audit ID, at once by the process that
// made it and soon by the others.
func TestFoundByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{values: map[string][]byte{}}
		a, b, c := newBook(store, "a"), newBook(store, "b"), newBook(store, "c")
		for _, book := range []*Book{a, b, c} {
			defer run(book)()
		}
		id := refuse(a, victim, "audit-1")
		for _, name := range []string{id, "audit-1"} {
			if found, _, err := a.find(t.Context(), name); err != nil || len(found) != 1 || found[0].ID != id {
				t.Errorf("the process itself finds %v, %v by %q", found, err, name)
			}
		}
		time.Sleep(2 * flushEvery)
		for _, book := range []*Book{a, b, c} {
			for _, name := range []string{id, "audit-1"} {
				found, more, err := book.find(t.Context(), name)
				if err != nil || len(found) != 1 || more != 0 {
					t.Fatalf("%s finds %v and %d more, %v by %q", book.server, found, more, err, name)
				}
				r := found[0]
				if r.ID != id || r.AuditID != "audit-1" || r.Server != "a" || r.Peer != victim.String() || r.Code != 401 ||
					r.Method != "GET" || r.Path != "/api/v1/pods" || len(r.Ladder) != 1 || r.Ladder[0].Kind != string(authn.Expired) {
					t.Errorf("%s finds %+v", book.server, r)
				}
			}
		}
		if found, _, err := b.find(t.Context(), "audit"); err != nil || len(found) != 0 {
			t.Errorf("a part of an audit ID finds %v, %v", found, err)
		}
		for key, value := range store.values {
			if strings.Contains(key+string(value), "secret") {
				t.Errorf("the query is kept: %s %s", key, value)
			}
		}
	})
}

// Whoever repeats somebody's audit ID, however often and through however many
// processes, hides nothing of his.
func TestStrangerRepeatsTheAuditID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{values: map[string][]byte{}}
		books := []*Book{newBook(store, "a"), newBook(store, "b"), newBook(store, "c")}
		for _, book := range books {
			defer run(book)()
		}
		flood := func() {
			for i := range 500 {
				refuse(books[i%3], stranger, "audit-1")
			}
			time.Sleep(2 * flushEvery)
		}
		flood()
		id := refuse(books[0], victim, "audit-1")
		time.Sleep(time.Second)
		flood()
		for _, book := range books {
			found, more, err := book.find(t.Context(), "audit-1")
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(found, func(r Request) bool { return r.ID == id })
			if at < 0 || found[at].Peer != victim.String() || found[at].Ladder[0].Reason != "of "+victim.String() {
				t.Errorf("%s: the victim's is not among %d found", book.server, len(found))
			}
			if len(found) != 1+maxFoundOfPeer || more == 0 {
				t.Errorf("%s: %d found and %d more; want %d of the stranger", book.server, len(found), more, maxFoundOfPeer)
			}
			if one, _, err := book.find(t.Context(), id); err != nil || len(one) != 1 || one[0].Peer != victim.String() {
				t.Errorf("%s: by the ID there is %v, %v", book.server, one, err)
			}
			if lost, err := book.left(t.Context()); err != nil || lost.PeerLimit < 500 || lost.TotalLimit != 0 {
				t.Errorf("%s: left out %+v, %v", book.server, lost, err)
			}
		}
	})
}

// What strangers write is bounded, and what is left out is counted in every
// process.
func TestWhatIsKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{values: map[string][]byte{}}
		book := newBook(store, "a")
		stop := run(book)
		const hours, perMinute = 1, 2000
		n := 0
		for range hours * 60 {
			for range perMinute {
				n++
				refuse(book, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), fmt.Sprint("a", n))
			}
			time.Sleep(time.Minute)
		}
		stop()
		records, _, kept, _ := store.Below(t.Context(), idPrefix, 1)
		if most := totalBurst + int(time.Duration(hours)*time.Hour/totalEvery); kept > most || len(records) != 1 || kept < totalBurst {
			t.Errorf("%d records in an hour, want at most %d", kept, most)
		}
		if len(book.shares[requests].peers) > maxPeers {
			t.Errorf("%d peers are remembered", len(book.shares[requests].peers))
		}
		lost, err := newBook(store, "b").left(t.Context())
		if err != nil || allLost(&lost) != int64(n-kept) {
			t.Errorf("left out %+v of %d, %v; want %d", lost, n, err, n-kept)
		}
		if len(book.lost) > 1 {
			t.Errorf("counts of %d minutes are kept in memory", len(book.lost))
		}
	})
}

func TestStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{values: map[string][]byte{}, down: errors.New("the store is away")}
		book := newBook(store, "a")
		defer run(book)()
		refuse(book, victim, "audit-1")
		time.Sleep(time.Second)
		if _, _, err := book.find(t.Context(), "audit-1"); err == nil {
			t.Error("nothing is found, and nobody says that the store is away")
		}
		store.mu.Lock()
		store.down = nil
		store.mu.Unlock()
		time.Sleep(time.Second)
		if lost, err := book.left(t.Context()); err != nil || lost != (Lost{Store: 1}) {
			t.Errorf("left out %+v, %v", lost, err)
		}
	})
}

// A record of any size fits.
func TestEncodeIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 500)
	r := &Request{ID: "i", Code: 401, User: &User{Username: long, Groups: slices.Repeat([]string{long}, maxGroups)}}
	for range 80 {
		r.Ladder = append(r.Ladder, Rung{
			Method: "Test", Found: "refused", Reason: long, Mend: long, Checks: slices.Repeat([]Check{{What: long, Got: long, Want: long}}, 32),
		})
	}
	text := encode(r)
	if len(text) == 0 || len(text) > maxRecord {
		t.Errorf("a record of %d bytes", len(text))
	}
	var back Request
	if err := json.Unmarshal(text, &back); err != nil || back.ID != "i" || len(back.Ladder) == 0 {
		t.Errorf("%+v, %v", back, err)
	}
	if len(r.Ladder[0].Checks[0].Got) != len(long) {
		t.Error("the record itself was changed")
	}
}

// One of the characters that JSON writes as six is shortened all the more, or
// left out.
func TestEncodeIsBoundedWhatever(t *testing.T) {
	long := strings.Repeat("<", 500)
	r := &Request{
		ID: "i", Code: 200, Review: &Review{Kind: "TokenReview", Asker: "a", Audiences: slices.Repeat([]string{long}, maxAudiences)},
		Authorization: &Authorization{Reason: long + long, Error: long + long},
	}
	if text := encode(r); len(text) == 0 || len(text) > maxRecord {
		t.Errorf("a record of %d bytes", len(text))
	}
	if len(r.Review.Audiences) == 0 || len(r.Authorization.Reason) != 1000 {
		t.Error("the record itself was changed")
	}
	r.Authorization.Asked = Asked{Group: long, Version: long, Resource: long, Subresource: long, Namespace: long, Name: long, Path: long}
	if text := encode(r); text != nil {
		t.Errorf("a record of %d bytes", len(text))
	}
}

func TestDenied(t *testing.T) {
	store := &shelf{values: map[string][]byte{}}
	book := newBook(store, "a")
	who := &identity.Identity{Name: "jane", Groups: []string{"dev"}, Credential: identity.Credential{Method: identity.StaticToken, ID: "line 1"}}
	a := &authz.Attributes{User: who, Verb: "get", IsResource: true, Path: "/api/v1/namespaces/x/pods", APIVersion: "v1", Resource: "pods", Namespace: "x"}
	book.Denied("id-1", "audit-1", httptest.NewRequest("GET", "/api/v1/namespaces/x/pods", nil), Denial{
		Ladder:  []authn.Rung{{Method: identity.FrontProxy, Found: authn.Passed}},
		Lacking: []Lack{{Asked: a, Reason: "RBAC: no"}, {Asked: &authz.Attributes{User: who, Verb: "impersonate", IsResource: true, Resource: "users", Name: "jim"}, Reason: "not that either"}},
	})
	found, _, err := book.find(t.Context(), "id-1")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	r := found[0]
	if r.Code != http.StatusForbidden || r.User.Username != "jane" || r.User.CredentialID != "line 1" || r.Authorization.Reason != "RBAC: no" {
		t.Errorf("%+v", r)
	}
	if n := r.Authorization.Instead; len(n) != 1 || n[0].Asked.Name != "jim" || n[0].Reason != "not that either" || len(r.Ladder) != 1 {
		t.Errorf("instead of that: %+v, ladder %+v", n, r.Ladder)
	}
	back := attributesOf(&r.Authorization.Asked, identityOf(r.User))
	if !back.IsResource || back.Resource != "pods" || back.Namespace != "x" || back.User.Name != "jane" {
		t.Errorf("asked for %+v", back)
	}
}

// What an API server was told no about is found as what it asked about. It has
// shares of its own: one who asks about his own people all day hides neither
// what he is refused, nor what others are.
func TestReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{values: map[string][]byte{}}
		a, b := newBook(store, "a"), newBook(store, "b")
		defer run(a)()
		r := httptest.NewRequest("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", nil)
		r = r.WithContext(authn.WithConn(r.Context(), &authn.Conn{Peer: victim}))
		about := &Review{Kind: "SubjectAccessReview", Asker: "gatehouse:webhook:prod"}
		asked := &authz.Attributes{User: &identity.Identity{Name: "jane", Groups: []string{"dev"}}, Verb: "get", Path: "/metrics"}
		var ids []string
		for range 2 * peerBurst {
			if id := a.NotAllowed("audit-1", r, about, asked, "no", errors.New("the webhook is away")); id != "" {
				ids = append(ids, id)
			}
		}
		if len(ids) != peerBurst {
			t.Errorf("%d denials are kept, want %d", len(ids), peerBurst)
		}
		many := &Review{Kind: "TokenReview", Asker: strings.Repeat("a", 2*maxName), Audiences: slices.Repeat([]string{"prod"}, 100)}
		token := a.NotAuthenticated("audit-2", r, 429, many, asked.User, func() []authn.Rung {
			return []authn.Rung{{Method: identity.JWT, Found: authn.Refused, Reason: "expired", Facts: authn.Facts{Kind: authn.Expired}}}
		})
		refused := refuse(a, victim, "audit-3")
		time.Sleep(2 * flushEvery)
		for id, want := range map[string]Request{
			ids[0]:  {AuditID: "audit-1", Code: 201, Review: about, User: &User{Username: "jane"}},
			token:   {AuditID: "audit-2", Code: 429, Review: &Review{Kind: "TokenReview"}, User: &User{Username: "jane"}},
			refused: {AuditID: "audit-3", Code: 401},
		} {
			found, _, err := b.find(t.Context(), id)
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %+v, %v", want.AuditID, found, err)
			}
			got := found[0]
			if got.AuditID != want.AuditID || got.Code != want.Code || (got.Review == nil) != (want.Review == nil) || (got.User == nil) != (want.User == nil) || got.Peer != victim.String() {
				t.Errorf("found %+v, want %+v", got, want)
			}
			if got.Review != nil && (got.Review.Kind != want.Review.Kind || len(got.Review.Asker) > maxName+3 || len(got.Review.Audiences) > maxAudiences) {
				t.Errorf("found %+v, want %+v", got.Review, want.Review)
			}
		}
		if lost, err := b.left(t.Context()); err != nil || lost != (Lost{PeerLimit: peerBurst}) {
			t.Errorf("left out %+v, %v", lost, err)
		}
	})
}

// rules allow dev to get, and deny whoever is gone.
type rules struct{ gone string }

func (r rules) Authorize(_ context.Context, a *authz.Attributes) (authz.Answer, error) {
	switch {
	case a.User.Name == r.gone:
		return authz.Answer{Verdict: authz.Deny}, nil
	case a.User.InGroup("dev") && a.Verb == "get":
		return authz.Answer{Verdict: authz.Allow}, nil
	}
	return authz.Answer{}, nil
}

func (r rules) Nearest(a *authz.Attributes, _ int) []authz.Near {
	if !a.User.InGroup("dev") {
		return nil
	}
	return []authz.Near{{Binding: "b", Role: "r", Subject: "s", Differs: authz.ByVerb, Has: []string{"get"}, Wants: a.Verb}}
}

func (r rules) Roles(a *authz.Attributes, _ int) ([]authz.Role, bool) {
	if a.Verb == "post" {
		return nil, false
	}
	return []authz.Role{{Kind: "ClusterRole", Name: "getter"}}, true
}

// A denial to an API server is looked at again by what API servers are told, and
// shows the rules that nearly allow it.
func TestReviewAsOfNow(t *testing.T) {
	book := newBook(&shelf{values: map[string][]byte{}}, "a")
	e := &Explainer{Book: book, Authorizer: rules{}, Reviewed: rules{gone: "joe"}}
	ask := func(who, verb string, groups ...string) string {
		a := &authz.Attributes{User: &identity.Identity{Name: who, Groups: groups}, Verb: verb, Path: "/x"}
		return book.NotAllowed("audit-1", httptest.NewRequest("POST", "/", nil), &Review{Kind: "SubjectAccessReview"}, a, "", nil)
	}
	for _, tt := range []struct {
		name, id, now string
		nearest       int
		roles         string
	}{
		{"a verb too many", ask("jane", "post", "dev"), "denied", 1, "[]"},
		{"nothing near", ask("jane", "post", "ops"), "denied", 0, "[]"},
		{"a role for it", ask("jane", "get", "ops"), "denied", 0,
			`[{ClusterRole "getter" kubectl create clusterrolebinding jane-getter --clusterrole=getter --user=jane}]`},
		{"revoked", ask("joe", "get", "dev"), "denied", 1, "[]"},
		{"nobody", ask(identity.Anonymous, "get", "ops"), "denied", 0, "[]"},
		{"since then", ask("jane", "get", "dev"), "allowed", 0, "[]"},
	} {
		found, err := e.Find(t.Context(), tt.id)
		if err != nil || len(found.Status.Requests) != 1 {
			t.Fatal(found, err)
		}
		if a := found.Status.Requests[0].Authorization; a.Now != tt.now || len(a.Nearest) != tt.nearest || fmt.Sprint(a.Roles) != tt.roles {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}
