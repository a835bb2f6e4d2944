package holding

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// A certificate is renewed when from renewFrom to renewFrom + renewSpread of
	// its life is over: not all at the same moment, and with time left for a
	// server that is away.
	renewFrom, renewSpread = 0.7, 0.1
	// firstRetry and lastRetry are how long after a failure it is tried again.
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
	// betweenRenewals is the least time between two, unless the certificate has
	// little more to live. One that is cut short by the end of its CA, or a clock
	// that is ahead, would have the next one due at once.
	betweenRenewals = time.Minute
)

// ErrExpired is returned when the certificate has ended: its holder cannot renew
// it any more.
var ErrExpired = errors.New("the certificate has expired")

// A Keeper renews a certificate again and again.
type Keeper struct {
	// Read returns the pair that is held.
	Read func() (*tls.Certificate, error)
	// Renew gets another one, and puts it in its place.
	Renew func(ctx context.Context, held *tls.Certificate) (*x509.Certificate, error)
	// Renewed is called then, so that whoever uses it reads it again.
	Renewed func(ctx context.Context, cert *x509.Certificate) error
	// Say tells how it goes.
	Say func(format string, args ...any)
}

// Keep renews the certificate until ctx is done, and then returns nil. It returns
// an error when the certificate has ended.
func (k *Keeper) Keep(ctx context.Context) error {
	var rest time.Duration
	for {
		held, err := k.Read()
		if err != nil {
			return err
		}
		leaf := held.Leaf
		at := due(leaf)
		k.Say("%s is good until %s and is going to be renewed at %s", leaf.Subject, leaf.NotAfter.Format(time.RFC3339), at.Format(time.RFC3339))
		if !sleep(ctx, max(time.Until(at), rest)) {
			return nil
		}
		rest = min(betweenRenewals, time.Until(leaf.NotAfter)/2)
		if err := k.renew(ctx, held); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// renew tries until it is done, or there is nothing left to renew.
func (k *Keeper) renew(ctx context.Context, held *tls.Certificate) error {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		left := time.Until(held.Leaf.NotAfter)
		if left <= 0 {
			return fmt.Errorf("%w at %s", ErrExpired, held.Leaf.NotAfter.Format(time.RFC3339))
		}
		attempt, cancel := context.WithDeadlineCause(ctx, held.Leaf.NotAfter, ErrExpired)
		cert, err := k.Renew(attempt, held)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			k.Say("renewed: %s is good until %s", cert.Subject, cert.NotAfter.Format(time.RFC3339))
			if err := k.Renewed(ctx, cert); err != nil {
				k.Say("the certificate is renewed, but telling its user of it failed: %v", err)
			}
			return nil
		}
		k.Say("not renewed, trying again in %v: %v", min(pause, left), err)
		if !sleep(ctx, min(pause, left)) {
			return nil
		}
	}
}

// due is when a certificate is to be renewed.
func due(cert *x509.Certificate) time.Time {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotBefore.Add(time.Duration(float64(life) * (renewFrom + renewSpread*rand.Float64())))
}

// sleep waits, and reports whether ctx is still good.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}
