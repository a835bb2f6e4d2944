package metrics

import (
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A ConfigController counts how a configuration of Kubernetes' own form is
// followed, under Kubernetes' names (k8s.io/apiserver
// pkg/server/options/{authenticationconfig,authorizationconfig}/metrics).
type ConfigController struct {
	server    string
	reloads   *prometheus.CounterVec
	reloaded  *prometheus.GaugeVec
	inForce   *prometheus.GaugeVec
	replacing sync.Mutex
}

// configController returns the metrics of the configuration of what.
func (r *Registry) configController(what string) *ConfigController {
	// As kube-apiserver, a server is known by the name of its machine. Without
	// one there is nothing to tell it apart by.
	host, _ := os.Hostname()
	prefix := "apiserver_" + what + "_config_controller_"
	c := &ConfigController{
		server: digest(host),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "automatic_reloads_total", Help: "Reloads of the " + what + " configuration, by status.",
		}, []string{"status", "apiserver_id_hash"}),
		reloaded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "automatic_reload_last_timestamp_seconds", Help: "When the " + what + " configuration was last reloaded, by status.",
		}, []string{"status", "apiserver_id_hash"}),
		inForce: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "last_config_info", Help: "Always 1; the label is the digest of the " + what + " configuration in force.",
		}, []string{"apiserver_id_hash", "hash"}),
	}
	r.own.MustRegister(c.reloads, c.reloaded, c.inForce)
	return c
}

// Configured notes the configuration that is in force.
func (c *ConfigController) Configured(text []byte, reloaded bool) {
	if reloaded {
		c.reloads.WithLabelValues("success", c.server).Inc()
		c.reloaded.WithLabelValues("success", c.server).SetToCurrentTime()
	}
	c.replacing.Lock()
	defer c.replacing.Unlock()
	c.inForce.Reset()
	if len(text) > 0 {
		c.inForce.WithLabelValues(c.server, digest(string(text))).Set(1)
	}
}

// Refused notes a configuration that has not taken effect.
func (c *ConfigController) Refused() {
	c.reloads.WithLabelValues("failure", c.server).Inc()
	c.reloaded.WithLabelValues("failure", c.server).SetToCurrentTime()
}
