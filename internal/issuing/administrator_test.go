package issuing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/pki"
)

func TestAdministrator(t *testing.T) {
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		want     string // the refusal, if any
	}{
		{"ann", time.Hour, ""},
		{"ann@example.com", year, ""},
		{"Änne O'Hara", 10 * time.Minute, ""},
		{strings.Repeat("ä", 64), time.Hour, ""},
		{"", time.Hour, "must have a name"},
		{"system:admin", time.Hour, "reserved"},
		{"system:serviceaccount:ns:sa", time.Hour, "reserved"},
		{strings.Repeat("a", 65), time.Hour, "more than 64"},
		{"a\x00b", time.Hour, "cannot be seen"},
		{"a\nb", time.Hour, "cannot be seen"},
		{"a\u200bb", time.Hour, "cannot be seen"},
		{"a\u202eb", time.Hour, "cannot be seen"},
		{"\xff", time.Hour, "cannot be seen"},
		{"ann", 0, "cannot live for 0s"},
		{"ann", -time.Hour, "cannot live for -1h0m0s"},
		{"ann", 10*time.Minute - 1, "cannot live for"},
		{"ann", year + 1, "cannot live for"},
	} {
		client, err := issuing.Administrator(ca, tt.name, tt.lifetime)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || client != nil {
				t.Errorf("%q for %v: error %v, want one with %q", tt.name, tt.lifetime, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q for %v: %v", tt.name, tt.lifetime, err)
			continue
		}
		subject := client.Certificate.Subject
		if subject.CommonName != tt.name || !slices.Equal(subject.Organization, []string{"gatehouse:admins"}) {
			t.Errorf("%q: subject %v", tt.name, subject)
		}
	}
}
