package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/internal/metrics"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/reload"
)

// verifyTokens returns a verifier that asks those of local, and about tokens that
// none of them knows the webhook, if there is one; and another one for
// rehearsals, which remembers and delays nothing. The webhook is not among those
// whose callers wait for each other: to wait for somebody else takes no
// processor, and must keep nobody back who need not wait.
func (s *Server) verifyTokens(c *credentials, local []authn.TokenVerifier, audiences []string) (presented, rehearsed authn.TokenVerifier, err error) {
	guarded := newcomers{authn.Tokens(local...), s.tarpit}
	if s.cfg.Authentication.Webhook.ConfigFile == "" {
		return guarded, authn.Tokens(local...), nil
	}
	asked, err := s.tokenWebhook(c, audiences)
	if err != nil {
		return nil, nil, err
	}
	return authn.Tokens(guarded, asked), authn.Tokens(append(slices.Clone(local), asked)...), nil
}

// tokenWebhook returns who asks the webhook of --authentication-token-webhook-
// config-file, and follows that file.
func (s *Server) tokenWebhook(c *credentials, audiences []string) (authn.TokenVerifier, error) {
	const name = "authentication"
	w := s.cfg.Authentication.Webhook
	var client *outcall.Client
	var verifier *webhook.Verifier
	var file *reload.File[*outcall.Target]
	report := reporter(s.log, "token webhook", w.ConfigFile)
	file, err := reload.OpenSet(w.ConfigFile, func(text []byte, read reload.Reader) (*outcall.Target, error) {
		return outcall.ReadTarget(w.ConfigFile, text, read)
	}, func(problem error) {
		if problem == nil {
			client.Use(file.Value())
			verifier.Forget()
		}
		report(problem)
	})
	if err != nil {
		return nil, s.cfg.Wrong(&s.cfg.Authentication.Webhook.ConfigFile, err, "name a kubeconfig whose current context names the service")
	}
	client = s.callWebhook(name, file.Value())
	verifier, err = webhook.New(webhook.Config{
		Ask: func(ctx context.Context, review []byte, read func([]byte) error) error {
			err := client.Post(ctx, review, read)
			status, answered := errors.AsType[*outcall.StatusError](err)
			if errors.Is(err, outcall.ErrBusy) || answered && status.Code == http.StatusTooManyRequests {
				return authn.Explained(err, authn.Throttled, nil)
			}
			return err
		},
		Version: w.Version, Audiences: audiences,
		TTL: time.Duration(w.CacheTTL), Reserved: w.AllowedReservedNames,
	})
	if err != nil {
		return nil, err
	}
	c.follow("authentication-token-webhook-config-file", file.Status, file.Run)
	return verifier, nil
}

// callWebhook returns a client of a webhook, whose calls are counted under name
// and end with the server.
func (s *Server) callWebhook(name string, target *outcall.Target) *outcall.Client {
	count := s.webhooks.Called(name)
	client := outcall.New(s.calling, outcall.Config{
		Name: name + " webhook", Peer: authn.PeerFrom, Log: s.log,
		Observe: func(e outcall.Exchange) { count(e.Result, e.Took) },
	}, target)
	s.showWebhook(name, client)
	return client
}

// showWebhook shows in the metrics how a webhook is doing.
func (s *Server) showWebhook(name string, client *outcall.Client) {
	s.webhooks.Show(name, func() metrics.Webhook {
		now := client.Status()
		return metrics.Webhook{Calls: now.Calls, Waiting: now.Waiting, Down: now.Down}
	})
}
