package issuing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/gatehouse/internal/issuing"
	"gatehouse.dev/gatehouse/internal/pki"
)

func TestWebhook(t *testing.T) {
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", "ca")
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	for _, tt := range []struct {
		cluster  string
		lifetime time.Duration
		want     string // the refusal, if any
	}{
		{"prod", year, ""},
		{"eu-1.prod", 10 * time.Minute, ""},
		{strings.Repeat("a", 46), time.Hour, ""},
		{strings.Repeat("a", 47), time.Hour, "at most 46"},
		{"", time.Hour, "not valid"},
		{"Prod", time.Hour, "not valid"},
		{"a:b", time.Hour, "not valid"},
		{"a/b", time.Hour, "not valid"},
		{"..", time.Hour, "not valid"},
		{"pröd", time.Hour, "not valid"},
		{"a\nb", time.Hour, "not valid"},
		{"prod", 0, "cannot live for 0s"},
		{"prod", year + 1, "cannot live for"},
	} {
		client, err := issuing.Webhook(ca, tt.cluster, tt.lifetime)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || client != nil {
				t.Errorf("%q for %v: error %v, want one with %q", tt.cluster, tt.lifetime, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q for %v: %v", tt.cluster, tt.lifetime, err)
			continue
		}
		subject := client.Certificate.Subject
		if subject.CommonName != "gatehouse:webhook:"+tt.cluster || !slices.Equal(subject.Organization, []string{"gatehouse:webhooks"}) {
			t.Errorf("%q: subject %v", tt.cluster, subject)
		}
	}
}
