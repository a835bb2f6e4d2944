package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/bootstrap"
	"gatehouse.dev/gatehouse/authn/clientcert"
	"gatehouse.dev/gatehouse/authn/password"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/bench/measure"
)

// bootstrapToken is one of the right form.
const bootstrapToken = "abcdef.0123456789abcdef"

// others measures the ways in that have no peer among upstream's packages, and what
// is not remembered of a certificate.
func (b *booth) others(t *measure.Table) error {
	t.Section("Other ways in (beside them: what they should cost the same as)")
	if err := b.passwords(t); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if err := b.joining(t); err != nil {
		return fmt.Errorf("bootstrap token: %w", err)
	}
	return b.newCertificate(t)
}

// passwords measures one that is remembered, and a wrong one, which has to cost
// the same whether its user exists or not.
func (b *booth) passwords(t *measure.Table) error {
	const good, bad = "correct horse battery staple", "wrong horse battery staple"
	line, err := password.Line(caller, good, "bcrypt")
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, "users")
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	users, err := password.OpenHtpasswd(path, nil, nil)
	if err != nil {
		return err
	}
	basic, err := password.New(users)
	if err != nil {
		return err
	}
	sent := func(ctx context.Context, name, password string) *http.Request {
		r := newHolder().r.WithContext(ctx)
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
		return r
	}
	known := sent(context.Background(), caller, good)
	if res, err := basic.Authenticate(known); err != nil || res.Identity.Name != caller {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	ask := func(r *http.Request) measure.Operation {
		return func(n int) {
			for range n {
				_, _ = basic.Authenticate(r)
			}
		}
	}
	t.Relative("password, remembered", measure.One(ask(known)), measure.Cost{}, measure.Ratio{}, 0)
	// A rehearsal compares as a request does, and waits for nothing.
	rehearsal := authn.Rehearsal(context.Background())
	wrong, nobody, ratio := measure.Both(ask(sent(rehearsal, caller, bad)), ask(sent(rehearsal, "nobody", bad)))
	t.Relative("wrong password (beside it: of an unknown user)", wrong, nobody, ratio, 0)
	return nil
}

// A joiner has the Secret of one bootstrap token.
type joiner struct{ secret *bootstrap.Secret }

func (j joiner) Cached(string) *bootstrap.Secret { return j.secret }

func (j joiner) Live(context.Context, string) (*bootstrap.Secret, error) { return j.secret, nil }

// joining measures a bootstrap token.
func (b *booth) joining(t *measure.Table) error {
	id, secret, _ := bootstrap.Parse(bootstrapToken)
	stripes := authn.NewStripes()
	joins, err := bootstrap.New(bootstrap.Config{Audiences: []string{issuer}, Stripes: stripes, Secrets: joiner{&bootstrap.Secret{
		Type: bootstrap.SecretType,
		Data: map[string][]byte{"token-id": []byte(id), "token-secret": []byte(secret), bootstrap.Authentication: []byte("true")},
	}}})
	if err != nil {
		return err
	}
	table, err := verified.NewResults(few)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name   string
		tokens authn.TokenVerifier
	}{
		{"bootstrap token, remembered", verified.Tokens(table, authn.AnyBearer, joins)},
		{"bootstrap token, looked at anew", joins},
	} {
		one := booth{ours: authn.Bearer(c.tokens)}
		if res, err := one.ours.Authenticate(bearing([]string{bootstrapToken})(0)); err != nil || res.Identity.Name != bootstrap.UserPrefix+id {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		t.Relative(c.name, measure.One(one.askOurs(bearing([]string{bootstrapToken}))), measure.Cost{}, measure.Ratio{}, 0)
	}
	return nil
}

// newCertificate measures a chain that nobody has presented before.
func (b *booth) newCertificate(t *measure.Table) error {
	clients, err := clientcert.OpenBundle(b.clients, nil)
	if err != nil {
		return err
	}
	for _, s := range []*signer{b.rs, b.es} {
		name, request := "RSA", with(b.rsCert, nil, true)
		if s == b.es {
			name, request = "ECDSA", with(b.esCert, nil, true)
		}
		ours, theirs, ratio := measure.Both(func(n int) {
			for i := range n {
				// One that has just been made knows no chains.
				_, _ = clientcert.New(clients).Authenticate(request(i))
			}
		}, func(n int) {
			for i := range n {
				_, _, _ = b.theirs.Request.AuthenticateRequest(request(i))
			}
		})
		t.Relative("client certificate not seen before, "+name+" (upstream: each request)", ours, theirs, ratio, 0)
	}
	return nil
}

var errWrong = errors.New("wrong answer")
