package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/secret"
)

const hunter = "hunter2-and-then-some"

// holder keeps a secret where fmt cannot call its methods.
type holder struct {
	name   string
	hidden secret.Bytes
	many   []secret.Bytes
	deep   *struct{ hidden secret.Bytes }
}

func leaks(text string) bool {
	for _, form := range []string{
		hunter,
		hex.EncodeToString([]byte(hunter)),
		strings.ToUpper(hex.EncodeToString([]byte(hunter))),
		base64.StdEncoding.EncodeToString([]byte(hunter)),
		strings.Trim(fmt.Sprint([]byte(hunter)), "[]"),
		strings.Trim(fmt.Sprintf("%#v", []byte(hunter)), "[]byte{}"),
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestNothingPrintsASecret(t *testing.T) {
	s := secret.New([]byte(hunter))
	h := holder{name: "h", hidden: s, many: []secret.Bytes{s}, deep: &struct{ hidden secret.Bytes }{s}}
	for _, verb := range strings.Split("v,+v,#v,s,q,x,X,# x,d,c,U,b,t,p,T,z", ",") {
		for _, value := range []any{s, &s, h, &h, []any{s}, map[string]any{"k": s}, errors.Join(fmt.Errorf("%v", s))} {
			if got := fmt.Sprintf("%"+verb, value); leaks(got) {
				t.Errorf("%%%s of %T prints the secret: %s", verb, value, got)
			}
		}
	}
	if got := fmt.Sprint(s); got != secret.Placeholder {
		t.Errorf("Sprint = %q, want %q", got, secret.Placeholder)
	}
}

func TestNothingEncodesASecret(t *testing.T) {
	s := secret.New([]byte(hunter))
	encoded, err := json.Marshal(map[string]any{"password": s})
	if want := `{"password":"[secret]"}`; err != nil || string(encoded) != want {
		t.Errorf("Marshal = %s, %v, want %s", encoded, err, want)
	}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		slog.New(handler(&out)).Info("m", "s", s, "h", holder{hidden: s}, "g", slog.GroupValue(slog.Any("s", s)))
		if leaks(out.String()) || !strings.Contains(out.String(), secret.Placeholder) {
			t.Errorf("log has the secret, or no placeholder: %s", out.String())
		}
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		name string
		a, b secret.Bytes
		want bool
	}{
		{"same", secret.New([]byte("abc")), secret.New([]byte("abc")), true},
		{"other", secret.New([]byte("abc")), secret.New([]byte("abd")), false},
		{"prefix", secret.New([]byte("abc")), secret.New([]byte("ab")), false},
		{"one empty", secret.New([]byte("abc")), secret.Bytes{}, false},
		{"other empty", secret.Bytes{}, secret.New([]byte("abc")), false},
		{"both empty", secret.Bytes{}, secret.New(nil), false},
	}
	for _, tt := range tests {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: Equal = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNewCopies(t *testing.T) {
	b := []byte(hunter)
	s := secret.New(b)
	clear(b)
	if string(s.Reveal()) != hunter {
		t.Error("wiping the caller's bytes wiped the secret")
	}
	if zero := (secret.Bytes{}); !zero.Empty() || zero.Reveal() != nil {
		t.Error("the zero value is not empty")
	}
	if s.Empty() {
		t.Error("a secret with bytes is empty")
	}
}
