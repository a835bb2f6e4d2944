package issuing

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/pki"
)

const (
	// Webhooks is the group of the API servers that ask this server. It is bound
	// to system:auth-delegator, which lets it make reviews.
	Webhooks = "gatehouse:webhooks"
	// webhookPrefix begins the name of each.
	webhookPrefix = "gatehouse:webhook:"
)

// WebhookName returns the user that the API server of a cluster is. The name of
// the cluster is one as Kubernetes gives them to objects, so that two names
// never look the same.
func WebhookName(cluster string) (string, error) {
	if problems := validation.IsDNS1123Subdomain(cluster); len(problems) > 0 {
		return "", fmt.Errorf("the name of the cluster, %q, is not valid: %s", cluster, problems[0])
	}
	if most := maxCommonName - len(webhookPrefix); len(cluster) > most {
		return "", fmt.Errorf("the name of the cluster has %d characters: choose one of at most %d", len(cluster), most)
	}
	return webhookPrefix + cluster, nil
}

// Webhook issues the client certificate of the API server of a cluster. The
// lifetime is from 10 minutes to a year.
func Webhook(issuer ClientIssuer, cluster string, lifetime time.Duration) (*pki.ClientCertificate, error) {
	name, err := WebhookName(cluster)
	if err != nil {
		return nil, err
	}
	if err := checkLifetime(lifetime); err != nil {
		return nil, err
	}
	return issuer.IssueClient(pki.Client{CommonName: name, Groups: []string{Webhooks}, Lifetime: lifetime})
}
