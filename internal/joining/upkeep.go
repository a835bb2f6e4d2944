package joining

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// retryEvery is how often a renewal is tried that has failed.
const retryEvery = time.Minute

// An upkeep is what keeps a node in.
type upkeep struct {
	// from and until are those of the certificate in force.
	from, until time.Time
	// beat tells that the node is there.
	beat func(context.Context) error
	// renew replaces the certificate. A failure leaves the old one in force.
	renew func(context.Context) (from, until time.Time, err error)
	say   func(string)
}

// errExpired is the end of an upkeep.
var errExpired = errors.New("the certificate has expired, and no other was had in time")

// A renewed certificate is valid from and until these, or there is none.
type renewed struct {
	from, until time.Time
	err         error
}

// run goes on until ctx ends, or until the certificate has expired. A renewal may
// take its time: the heart goes on beating.
func (u *upkeep) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	renewal := time.NewTimer(time.Until(u.due()))
	defer renewal.Stop()
	results := make(chan renewed, 1)
	lost := u.pulse(ctx, false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beats.C:
			lost = u.pulse(ctx, lost)
		case <-renewal.C:
			go func() {
				from, until, err := u.renew(ctx)
				results <- renewed{from, until, err}
			}()
		case r := <-results:
			if ctx.Err() != nil {
				return nil // and the renewal has failed because of that
			}
			wait, err := u.settle(r)
			if err != nil {
				return err
			}
			renewal.Reset(wait)
		}
	}
}

// settle takes over the result of a renewal, and returns how long it is until the
// next.
func (u *upkeep) settle(r renewed) (time.Duration, error) {
	if r.err == nil {
		u.from, u.until = r.from, r.until
		// A certificate that is cut short by the end of its CA, or a clock that is
		// ahead, would have the next one due at once.
		return max(time.Until(u.due()), min(retryEvery, time.Until(u.until)/2)), nil
	}
	left := time.Until(u.until)
	if left <= 0 {
		return 0, errors.Join(errExpired, r.err)
	}
	u.say("no new certificate yet: " + r.err.Error())
	return min(retryEvery, left), nil
}

// pulse beats once. It tells of the first failure in a row, and of their end.
func (u *upkeep) pulse(ctx context.Context, lost bool) bool {
	err := u.beat(ctx)
	switch {
	case ctx.Err() != nil:
		return lost
	case err != nil && !lost:
		u.say("the server does not take the heartbeat: " + err.Error())
	case err == nil && lost:
		u.say("the server takes the heartbeat again")
	}
	return err != nil
}

// due is when another certificate is asked for: as for a kubelet, some time
// between 70 and 90 percent of the life of the one in force, so that not all
// nodes ask at once (k8s.io/client-go/util/certificate, nextRotationDeadline).
func (u *upkeep) due() time.Time {
	life := u.until.Sub(u.from)
	return u.from.Add(time.Duration(float64(life) * (0.7 + 0.2*rand.Float64())))
}
