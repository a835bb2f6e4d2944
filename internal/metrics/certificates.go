package metrics

import "github.com/prometheus/client_golang/prometheus"

// CertificateRequests returns what counts how a request for a certificate ended,
// by the name of its signer and the result. Only signers of this server are
// counted, so the label holds nothing that a caller chose.
func (r *Registry) CertificateRequests() func(signer, result string) {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_certificate_requests_total",
		Help: "Approved requests for certificates, by signer and by result: issued, refused or error.",
	}, []string{"signer", "result"})
	r.own.MustRegister(count)
	return func(signer, result string) { count.WithLabelValues(signer, result).Inc() }
}
