package metrics

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Issuers count what happens with the issuers of tokens, under Kubernetes'
// names (k8s.io/apiserver plugin/pkg/authenticator/token/oidc/metrics.go and
// pkg/server/options/authenticationconfig/metrics). Issuers and texts appear as
// digests, as they do there.
type Issuers struct {
	latency   *prometheus.HistogramVec
	fetched   *prometheus.GaugeVec
	keySet    *prometheus.GaugeVec
	replacing sync.Mutex
	*ConfigController
}

// Issuers returns the metrics of issuers. It is called once.
func (r *Registry) Issuers() *Issuers {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	const authentication = "apiserver_authentication_jwt_authenticator_"
	i := &Issuers{
		ConfigController: r.configController("authentication"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: authentication + "latency_seconds", Help: "Time to verify a token that was not remembered, by result and issuer.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"result", "jwt_issuer_hash"}),
		fetched: gauge(authentication+"jwks_fetch_last_timestamp_seconds", "When keys were last fetched, by result and issuer.",
			"result", "jwt_issuer_hash", "apiserver_id_hash"),
		keySet: gauge(authentication+"jwks_fetch_last_key_set_info", "Always 1; the label is the digest of the last key set of an issuer.",
			"jwt_issuer_hash", "apiserver_id_hash", "hash"),
	}
	r.own.MustRegister(i.latency, i.fetched, i.keySet)
	return i
}

// digest is how a text appears in a label.
func digest(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
}

// Verified returns what counts the tokens of one issuer.
func (i *Issuers) Verified(issuer string) func(took time.Duration, err error) {
	good := i.latency.WithLabelValues("success", digest(issuer))
	bad := i.latency.WithLabelValues("failure", digest(issuer))
	return func(took time.Duration, err error) {
		if err != nil {
			bad.Observe(took.Seconds())
			return
		}
		good.Observe(took.Seconds())
	}
}

// KeysFetched notes one look at the keys of an issuer.
func (i *Issuers) KeysFetched(issuer string, set []byte, err error) {
	hash := digest(issuer)
	if err != nil {
		i.fetched.WithLabelValues("failure", hash, i.server).SetToCurrentTime()
		return
	}
	i.fetched.WithLabelValues("success", hash, i.server).SetToCurrentTime()
	i.replacing.Lock()
	defer i.replacing.Unlock()
	i.keySet.DeletePartialMatch(prometheus.Labels{"jwt_issuer_hash": hash})
	i.keySet.WithLabelValues(hash, i.server, digest(string(set))).Set(1)
}

// Gone forgets an issuer.
func (i *Issuers) Gone(issuer string) {
	is := prometheus.Labels{"jwt_issuer_hash": digest(issuer)}
	i.latency.DeletePartialMatch(is)
	i.fetched.DeletePartialMatch(is)
	i.replacing.Lock()
	defer i.replacing.Unlock()
	i.keySet.DeletePartialMatch(is)
}
