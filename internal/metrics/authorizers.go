package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Authorizers count what each authorizer decides, under Kubernetes' names
// (k8s.io/apiserver pkg/authorization/{metrics,cel} and
// plugin/pkg/authorizer/webhook/metrics).
type Authorizers struct {
	*ConfigController
	decisions   *prometheus.CounterVec
	conditions  *prometheus.HistogramVec
	conditionNo *prometheus.CounterVec
	badly       *prometheus.CounterVec
	calls       *prometheus.CounterVec
	took        *prometheus.HistogramVec
	open        *prometheus.CounterVec
}

// Authorizers returns the metrics of authorizers. It is called once.
func (r *Registry) Authorizers() *Authorizers {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_" + name, Help: help}, labels)
	}
	a := &Authorizers{
		ConfigController: r.configController("authorization"),
		decisions:        counter("decisions_total", "Decisions by the authorizer that made them: allowed or denied.", "type", "name", "decision"),
		conditions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_authorization_match_condition_evaluation_seconds", Help: "Time to evaluate the match conditions of a webhook.",
			Buckets: []float64{.001, .005, .01, .025, .1, .2, .25},
		}, []string{"type", "name"}),
		conditionNo: counter("match_condition_exclusions_total", "Requests that a webhook was not asked about, because its match conditions exclude them.", "type", "name"),
		badly:       counter("match_condition_evaluation_errors_total", "Requests whose match conditions could not be evaluated.", "type", "name"),
		calls:       counter("webhook_evaluations_total", "Calls of an authorization webhook, each try by itself, by result: success, timeout, error or canceled.", "name", "result"),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_authorization_webhook_duration_seconds", Help: "Time that these calls took.", Buckets: prometheus.DefBuckets,
		}, []string{"name", "result"}),
		open: counter("webhook_evaluations_fail_open_total", "Requests that a webhook has no opinion on because it did not answer.", "name", "result"),
	}
	r.own.MustRegister(a.decisions, a.conditions, a.conditionNo, a.badly, a.calls, a.took, a.open)
	return a
}

// Decided returns what counts the decisions of one authorizer.
func (a *Authorizers) Decided(kind, name string) (allowed, denied func()) {
	return a.decisions.WithLabelValues(kind, name, "allowed").Inc, a.decisions.WithLabelValues(kind, name, "denied").Inc
}

// Called returns what counts the calls of a webhook.
func (a *Authorizers) Called(name string) func(result string, took time.Duration) {
	return func(result string, took time.Duration) {
		a.calls.WithLabelValues(name, result).Inc()
		a.took.WithLabelValues(name, result).Observe(took.Seconds())
	}
}

// FailedOpen counts a request that a webhook did not answer about, with how the
// call went.
func (a *Authorizers) FailedOpen(name, result string) { a.open.WithLabelValues(name, result).Inc() }

// Gone forgets an authorizer.
func (a *Authorizers) Gone(kind, name string) {
	is := prometheus.Labels{"type": kind, "name": name}
	a.decisions.DeletePartialMatch(is)
	a.conditions.DeletePartialMatch(is)
	a.conditionNo.DeletePartialMatch(is)
	a.badly.DeletePartialMatch(is)
	is = prometheus.Labels{"name": name}
	a.calls.DeletePartialMatch(is)
	a.took.DeletePartialMatch(is)
	a.open.DeletePartialMatch(is)
}

// RecordAuthorizationMatchConditionEvaluation implements the MatcherMetrics of
// k8s.io/apiserver pkg/authorization/cel, as the next two do.
func (a *Authorizers) RecordAuthorizationMatchConditionEvaluation(_ context.Context, kind, name string, took time.Duration) {
	a.conditions.WithLabelValues(kind, name).Observe(took.Seconds())
}

// RecordAuthorizationMatchConditionEvaluationFailure counts a request whose
// conditions could not be evaluated.
func (a *Authorizers) RecordAuthorizationMatchConditionEvaluationFailure(_ context.Context, kind, name string) {
	a.badly.WithLabelValues(kind, name).Inc()
}

// RecordAuthorizationMatchConditionExclusion counts a request that a webhook was
// not asked about.
func (a *Authorizers) RecordAuthorizationMatchConditionExclusion(_ context.Context, kind, name string) {
	a.conditionNo.WithLabelValues(kind, name).Inc()
}
