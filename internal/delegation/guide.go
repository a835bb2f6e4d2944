package delegation

import (
	"net"
	"net/url"
	"strings"
	"text/template"
	"time"
)

// tokenCache is how long kube-apiserver remembers a token that it has let in,
// whoever said so, beyond what its webhook's cache does. No flag changes it.
const tokenCache = 10 * time.Second

// guide is for people: lines that begin with # are prose, and the others flags.
const guide = `# Flags of kube-apiserver. Whose a token is:
--authentication-token-webhook-config-file={{.Token}}
--authentication-token-webhook-version=v1
--authentication-token-webhook-cache-ttl={{.TTL}}
#
# What they may do, from Kubernetes 1.32 on, in place of --authorization-mode:
--authorization-config={{.Authorization}}
#
# What they may do, before that:
--authorization-mode=Node,Webhook,RBAC
--authorization-webhook-config-file={{.Access}}
--authorization-webhook-version=v1
--authorization-webhook-cache-authorized-ttl={{.TTL}}
--authorization-webhook-cache-unauthorized-ttl={{.TTL}}
#
# What it takes:
# - The audiences of that API server (--api-audiences, or else its
#   --service-account-issuer) in the configuration of Gatehouse:
#       authentication:
#         webhookClients:
#         - user: {{.Name}}
#           audiences: [...]
#           sources: [StaticToken, BootstrapToken, JWT]
#   Without sources its service accounts' tokens count there too, by name.
# - The certificate of {{.Name}} ends on {{.Until}}.
#   Before that, make new files and restart kube-apiserver.
{{- if .Local}}
# - {{.Server}} is this machine. For an API server elsewhere, give --server.
{{- end}}
#
# What remains:
# - Answers are believed for the cache times. A token that is taken back gets in
#   for up to {{.TokenLag}}, a right that is taken away counts for up to {{.TTL}}, and what
#   is given may take as long. Requests under way, watches too, go on.
# - system:masters may do everything. Gatehouse is not asked.
# - Client certificates and tokens of its own service accounts are judged by that
#   API server alone. Gatehouse is asked what they may do, unless Node allows it.
# - While Gatehouse does not answer, tokens that are not remembered are refused,
#   and the roles of that API server decide alone. With failurePolicy: Deny in
#   {{.File}} all is denied but to system:masters and what Node allows.
# - Users are the same by name. Whoever may change roles in Gatehouse can become
#   what has such a role in that cluster.
`

// Guide returns the flags, and what they do not bring about.
func (c *Client) Guide() (string, error) {
	form, err := template.New("guide").Parse(guide)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = form.Execute(&text, map[string]any{
		"Name": c.Name, "Server": c.Server, "Local": local(c.Server), "File": Authorization,
		"Token": c.in(TokenReview), "Access": c.in(AccessReview), "Authorization": c.in(Authorization),
		"TTL": c.CacheTTL, "TokenLag": c.CacheTTL + tokenCache, "Until": c.Until.UTC().Format(time.RFC3339),
	})
	return text.String(), err
}

// local reports whether only this machine reaches a server by its URL.
func local(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
