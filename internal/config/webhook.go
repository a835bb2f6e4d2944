package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/outcall"
)

// TokenWebhook is somebody else who knows whose a bearer token is.
type TokenWebhook struct {
	// The file with a kubeconfig that says where the webhook is and how the
	// server shows who it is. The webhook is asked about tokens that nobody
	// else knows. The file, and those that it names, are followed.
	// Default: none.
	ConfigFile string `json:"configFile" flag:"authentication-token-webhook-config-file" path:"read"`
	// The version of the TokenReviews that are sent: v1 or v1beta1.
	// Default: v1beta1.
	Version string `json:"version" flag:"authentication-token-webhook-version"`
	// How long an answer is believed, of either kind, as a duration. 0s asks
	// again each time.
	// Default: 2m0s.
	CacheTTL Duration `json:"cacheTTL" flag:"authentication-token-webhook-cache-ttl"`
	// The users and groups beginning with system: that the webhook may name. A
	// star at the end stands for anything, such as in system:node:*, but never
	// for system:masters. An answer that names another one is refused.
	// Default: none.
	AllowedReservedNames []string `json:"allowedReservedNames" flag:"authentication-token-webhook-reserved-name,array"`
}

// AccessWebhook is somebody else who knows what a caller may do.
type AccessWebhook struct {
	// The file with a kubeconfig that says where the webhook is and how the
	// server shows who it is. Needed with the mode Webhook. The file, and those
	// that it names, are followed.
	// Default: none.
	ConfigFile string `json:"configFile" flag:"authorization-webhook-config-file" path:"read"`
	// The version of the SubjectAccessReviews that are sent: v1 or v1beta1.
	// Default: v1beta1.
	Version string `json:"version" flag:"authorization-webhook-version"`
	// How long it is believed that something is allowed, as a duration. 0s asks
	// again each time.
	// Default: 5m0s.
	AuthorizedTTL Duration `json:"authorizedTTL" flag:"authorization-webhook-cache-authorized-ttl"`
	// How long it is believed that something is not allowed, as a duration. 0s
	// asks again each time.
	// Default: 30s.
	UnauthorizedTTL Duration `json:"unauthorizedTTL" flag:"authorization-webhook-cache-unauthorized-ttl"`
}

// A WebhookClient is an API server that asks whose a token is.
type WebhookClient struct {
	// The user that its client certificate names.
	User string `json:"user"`
	// Its audiences. A token of a source that knows no audiences counts for
	// them, one that has audiences must have one of these.
	Audiences []string `json:"audiences"`
	// The methods and issuers whose tokens count there. Without it, all.
	Sources []string `json:"sources,omitempty"`
}

func defaultAccessWebhook() AccessWebhook {
	return AccessWebhook{Version: "v1beta1", AuthorizedTTL: Duration(5 * time.Minute), UnauthorizedTTL: Duration(30 * time.Second)}
}

func defaultTokenWebhook() TokenWebhook {
	return TokenWebhook{Version: "v1beta1", CacheTTL: Duration(2 * time.Minute)}
}

const (
	mendKubeconfig = "correct it; docs/webhooks.md has an example"
	mendDuration   = "choose a duration such as 2m0s, or 0s to remember nothing"
)

// tokenWebhook checks who is asked about tokens, with the code that reads it at
// start.
func (k *check) tokenWebhook() {
	w := &k.c.Authentication.Webhook
	if w.ConfigFile == "" {
		k.unused("authentication.webhook.", nil, "has no effect without "+k.name(&w.ConfigFile), "remove it, or describe the webhook")
		return
	}
	k.oneOf(&w.Version, "v1", "v1beta1")
	if w.CacheTTL < 0 {
		k.refuse(&w.CacheTTL, mendDuration, "%s is negative", w.CacheTTL)
	}
	k.set(&w.AllowedReservedNames)
	if err := webhook.CheckReserved(w.AllowedReservedNames); err != nil && !slices.Contains(w.AllowedReservedNames, "") {
		k.refuse(&w.AllowedReservedNames, "write it as system:NAME, or as system:BEGINNING*", "%v", err)
	}
	k.kubeconfig(&w.ConfigFile)
}

// kubeconfig refuses a file that describes no webhook.
func (k *check) kubeconfig(field *string) {
	if readable(*field) != nil {
		return // that is told elsewhere
	}
	text, err := os.ReadFile(*field)
	if err == nil {
		_, err = outcall.ReadTarget(*field, text, os.ReadFile)
	}
	if err != nil {
		k.refuse(field, mendKubeconfig, "%s: %v", *field, err)
	}
}

// webhookClients refuses clients that are described twice or by halves.
func (k *check) webhookClients() {
	all := &k.c.Authentication.WebhookClients
	seen := map[string]bool{}
	for i, c := range *all {
		refuse := func(mend, format string, args ...any) {
			k.refuse(all, mend, fmt.Sprintf("entry %d ", i+1)+format, args...)
		}
		switch {
		case c.User == "":
			refuse("give the name in its client certificate, such as gatehouse:webhook:prod", "has no user")
		case seen[c.User]:
			refuse("make one entry of them", "is for %q, as an earlier one is", c.User)
		}
		seen[c.User] = true
		if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
			refuse("name its --api-audiences, or what it has instead, its --service-account-issuer", "has no audience, or an empty one")
		}
		for _, source := range c.Sources {
			if !k.knownSource(source) {
				refuse("choose from "+strings.Join(tokenSources(), ", ")+", or name an issuer by its https URL", "names the source %q, which is not known", source)
			}
		}
	}
}

// knownSource reports whether tokens can come from a source. What issuers there
// are may change while the server runs, so that any URL is accepted.
func (k *check) knownSource(source string) bool {
	return slices.Contains(tokenSources(), source) || slices.Contains(k.c.ServiceAccounts.Issuers, source) ||
		strings.HasPrefix(source, "https://") && len(source) > len("https://")
}

// tokenSources are the methods by which a token proves who is calling.
func tokenSources() []string {
	return []string{
		string(identity.StaticToken), string(identity.BootstrapToken), string(identity.ServiceAccount),
		string(identity.LegacyServiceAccount), string(identity.JWT), string(identity.Webhook),
	}
}
