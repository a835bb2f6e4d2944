package issuers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/internal/keyset"
	"gatehouse.dev/gatehouse/internal/outcall"
)

// maxFetches is how many claims of one issuer are fetched from one origin at the
// same time. Whoever fetches has a token that the issuer has signed; more of them
// wait for their turn.
const maxFetches = 64

// gates are those to the origins that claims of an issuer may be fetched from:
// its own, and those that are configured.
func (l *Live) gates(issuer string) map[string]*outcall.Gate {
	gates := map[string]*outcall.Gate{}
	for _, origin := range l.cfg.ClaimSources {
		gates[origin] = outcall.NewGate(maxFetches)
	}
	if own, err := originOf(issuer); err == nil {
		gates[own] = outcall.NewGate(maxFetches)
	}
	return gates
}

// fetcher returns the function that gets claims which are kept elsewhere.
func (l *Live) fetcher(s *source) func(context.Context, string, string) (string, error) {
	return func(ctx context.Context, endpoint, accessToken string) (string, error) {
		origin, err := originOf(endpoint)
		if err != nil {
			return "", err
		}
		gate := s.gates[origin]
		if gate == nil {
			return "", fmt.Errorf("claims may not be fetched from %.200q: it is neither the issuer's origin nor one that is configured", origin)
		}
		pass, err := gate.Enter(ctx, authn.PeerFrom(ctx))
		if errors.Is(err, outcall.ErrBusy) {
			err = throttled(err)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", origin, err)
		}
		defer pass.Leave()
		// To its end: an origin that does not answer must be seen not to, however
		// soon those leave who wait for it.
		text, _, err := s.client.Get(context.WithoutCancel(ctx), endpoint, accessToken)
		if up := answered(err); pass.Ended(up) {
			l.tellOrigin(origin, up, err)
		}
		return string(text), err
	}
}

// answered reports whether whoever was asked is up, by what came of it.
func answered(err error) bool {
	answer, ok := errors.AsType[*keyset.AnswerError](err)
	return err == nil || ok && outcall.Answers(answer.Code)
}

func (l *Live) tellOrigin(origin string, up bool, err error) {
	if up {
		l.log.Info("claims can be fetched again", "origin", origin)
		return
	}
	l.log.Error("where claims are kept does not answer; tokens that need one are refused at once until it does", "origin", origin, "err", err)
}

// originOf returns scheme, host and port of an https address (RFC 6454).
func originOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", errors.New("not an https address")
	}
	return "https://" + strings.ToLower(strings.TrimSuffix(u.Host, ":443")), nil
}
