package review_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/api/review"
)

// A market has tokens of every source. The server's own audience is "own".
type market struct{ asked []string }

func (m *market) VerifyToken(_ context.Context, token string, audiences []string) (*authn.Result, error) {
	m.asked = audiences
	have := map[string]struct {
		credential identity.Credential
		audiences  []string
	}{
		"static":    {identity.Credential{Method: identity.StaticToken}, []string{"own"}},
		"bootstrap": {identity.Credential{Method: identity.BootstrapToken}, []string{"own"}},
		"jwt":       {identity.Credential{Method: identity.JWT, Issuer: "https://a.example.org"}, []string{"own"}},
		"legacy":    {identity.Credential{Method: identity.LegacyServiceAccount, Issuer: "kubernetes/serviceaccount"}, []string{"own"}},
		"webhook":   {identity.Credential{Method: identity.Webhook}, []string{"own", "prod"}},
		"remote":    {identity.Credential{Method: identity.Webhook}, []string{"own"}},
		"own":       {identity.Credential{Method: identity.ServiceAccount, Issuer: "https://gatehouse"}, []string{"own"}},
		"prod":      {identity.Credential{Method: identity.ServiceAccount, Issuer: "https://gatehouse"}, []string{"prod"}},
		"stage":     {identity.Credential{Method: identity.ServiceAccount, Issuer: "https://gatehouse"}, []string{"stage"}},
	}
	t, ok := have[token]
	meant := authn.Intersect(t.audiences, audiences)
	if !ok || len(meant) == 0 {
		return nil, fmt.Errorf("no token for %q: %w", audiences, authn.ErrNoCredential)
	}
	return &authn.Result{Identity: &identity.Identity{Name: token, Credential: t.credential}, Audiences: meant}, nil
}

func TestClients(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sources []string
		token   string
		asked   []string
		want    []string // the audiences of the answer, or none
	}{
		{"a token of the file", nil, "static", nil, []string{"prod", "more"}},
		{"a token of the file, asked for", nil, "static", []string{"more", "stage"}, []string{"more"}},
		{"a bootstrap token", nil, "bootstrap", nil, []string{"prod", "more"}},
		{"an issuer's token", nil, "jwt", []string{"prod"}, []string{"prod"}},
		{"an account's token for the client", nil, "prod", nil, []string{"prod"}},
		{"a webhook's token for the client", nil, "webhook", nil, []string{"prod"}},
		{"an account's token for us", nil, "own", nil, nil},
		{"an account's token for us, asked for", nil, "own", []string{"own"}, nil},
		{"an account's token for others", nil, "stage", nil, nil},
		{"an account's token for others, asked for", nil, "stage", []string{"stage"}, nil},
		{"an account's old token", nil, "legacy", nil, nil},
		{"a webhook's token for us", nil, "remote", nil, nil},
		{"nobody's token", nil, "other", nil, nil},
		{"audiences of others", nil, "static", []string{"stage", "own"}, nil},

		{"a method that counts", []string{"StaticToken"}, "static", nil, []string{"prod", "more"}},
		{"an issuer that counts", []string{"StaticToken", "https://a.example.org"}, "jwt", nil, []string{"prod", "more"}},
		{"an issuer's account that counts", []string{"https://gatehouse"}, "prod", nil, []string{"prod"}},
		{"a method that does not count", []string{"JWT"}, "static", nil, nil},
		{"an account where issuers count", []string{"JWT", "StaticToken"}, "prod", nil, nil},
		{"an issuer that does not count", []string{"https://b.example.org"}, "jwt", nil, nil},
		{"a source without a name", []string{""}, "static", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &market{}
			wd := newWorld()
			h, err := review.New(review.Config{
				Tokens: m, Audiences: []string{"own"}, Access: wd, Rules: wd, Journal: wd, Validate: check,
				Clients: map[string]*review.Client{"alice": {Audiences: []string{"prod", "more"}, Sources: tt.sources}},
			})
			if err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: tt.token, Audiences: tt.asked}})
			if err != nil {
				t.Fatal(err)
			}
			w, _ := post(h, tokenPath, "application/json", "application/json", body)
			var got authenticationv1.TokenReview
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusCreated {
				t.Fatalf("%d %v: %s", w.Code, err, w.Body)
			}
			s := got.Status
			if s.Authenticated != (tt.want != nil) || !slices.Equal(s.Audiences, tt.want) {
				t.Errorf("status %+v, want audiences %q", s, tt.want)
			}
			if tt.want == nil && (s.Error == "" || s.User.Username != "") {
				t.Errorf("a refusal that says %+v", s)
			}
			if slices.Contains(m.asked, "stage") {
				t.Errorf("asked about a token for somebody else: %q", m.asked)
			}
		})
	}
}

// Whoever is no client is told of what it asks for.
func TestNoClient(t *testing.T) {
	m, wd := &market{}, newWorld()
	h, err := review.New(review.Config{
		Tokens: m, Audiences: []string{"own"}, Access: wd, Rules: wd, Journal: wd, Validate: check,
		Clients: map[string]*review.Client{"bob": {Audiences: []string{"prod"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := post(h, tokenPath, "application/json", "application/json", []byte(`{"spec":{"token":"stage","audiences":["stage"]}}`))
	var got authenticationv1.TokenReview
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !got.Status.Authenticated || !slices.Equal(m.asked, []string{"stage"}) {
		t.Errorf("asked for %q, got %s", m.asked, w.Body)
	}
}
