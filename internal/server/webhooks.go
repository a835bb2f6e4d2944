package server

import (
	"context"
	"time"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/webhook"
	"gatehouse.dev/gatehouse/internal/metrics"
	"gatehouse.dev/gatehouse/internal/outcall"
	"gatehouse.dev/gatehouse/internal/reload"
)

// withWebhook returns a verifier that asks the webhook, if there is one, about
// tokens that nobody of local knows. It is not among those of local: to wait for
// somebody else takes no processor, and must keep nobody back who need not wait.
func (s *Server) withWebhook(c *credentials, local authn.TokenVerifier, audiences []string) (authn.TokenVerifier, error) {
	if s.cfg.Authentication.Webhook.ConfigFile == "" {
		return local, nil
	}
	asked, err := s.tokenWebhook(c, audiences)
	if err != nil {
		return nil, err
	}
	return authn.Tokens(local, asked), nil
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
		return nil, err
	}
	client = s.callWebhook(name, outcall.Config{}, file.Value())
	verifier, err = webhook.New(webhook.Config{
		Ask: client.Post, Version: w.Version, Audiences: audiences,
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
func (s *Server) callWebhook(name string, cfg outcall.Config, target *outcall.Target) *outcall.Client {
	count, observe := s.webhooks.Called(name), cfg.Observe
	cfg.Name, cfg.Peer, cfg.Log = name, authn.PeerFrom, s.log
	cfg.Observe = func(e outcall.Exchange) {
		count(e.Result, e.Took)
		if observe != nil {
			observe(e)
		}
	}
	client := outcall.New(s.calling, cfg, target)
	s.webhooks.Show(name, func() metrics.Webhook {
		now := client.Status()
		return metrics.Webhook{Calls: now.Calls, Waiting: now.Waiting, Down: now.Down}
	})
	context.AfterFunc(s.calling, client.Close)
	return client
}
