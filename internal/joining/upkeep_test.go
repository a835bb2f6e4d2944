package joining

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A diary is what an upkeep did, and says how it goes.
type diary struct {
	beats    int
	renewals []time.Duration // since the beginning
	said     []string

	beatErr, renewErr error
	// takes is how long a renewal takes, and gives how long its certificate is good.
	takes, gives time.Duration
}

func (d *diary) upkeep(life time.Duration) *upkeep {
	began := time.Now()
	return &upkeep{
		from: began, until: began.Add(life),
		beat: func(context.Context) error { d.beats++; return d.beatErr },
		renew: func(ctx context.Context) (from, until time.Time, err error) {
			d.renewals = append(d.renewals, time.Since(began))
			if !sleep(ctx, d.takes) {
				return from, until, ctx.Err()
			}
			now := time.Now()
			return now, now.Add(d.gives), d.renewErr
		},
		say: func(text string) { d.said = append(d.said, text) },
	}
}

// run runs an upkeep for a time, and returns how it ended.
func (d *diary) run(t *testing.T, u *upkeep, limit time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err = u.run(ctx)
	synctest.Wait()
	return err
}

func TestUpkeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{gives: time.Hour}
		if err := d.run(t, d.upkeep(time.Hour), 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		if d.beats < 719 || d.beats > 721 {
			t.Errorf("%d heartbeats in two hours", d.beats)
		}
		if n := len(d.renewals); n != 2 || d.renewals[0] < 42*time.Minute || d.renewals[0] > 54*time.Minute {
			t.Errorf("renewed after %v, want it between 70 and 90 percent of an hour, twice", d.renewals)
		}
	})
}

// The heart beats while somebody has to approve the next certificate.
func TestUpkeepBeatsWhileRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{gives: time.Hour, takes: 5 * time.Minute}
		if err := d.run(t, d.upkeep(time.Hour), time.Hour); err != nil {
			t.Fatal(err)
		}
		if d.beats < 359 {
			t.Errorf("%d heartbeats in an hour", d.beats)
		}
	})
}

func TestUpkeepRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{gives: time.Hour, renewErr: errors.New("the server is away")}
		err := d.run(t, d.upkeep(time.Hour), 2*time.Hour)
		if !errors.Is(err, errExpired) || !strings.Contains(fmt.Sprint(err), "the server is away") {
			t.Errorf("without another certificate it ended with %v", err)
		}
		if n := len(d.renewals); n < 6 || n > 20 {
			t.Errorf("%d tries, want one each minute until the end", n)
		}
		if last := d.renewals[len(d.renewals)-1]; last < time.Hour || last > time.Hour+time.Minute {
			t.Errorf("the last try was after %v, want it at the end of the certificate", last)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := &diary{gives: time.Hour, renewErr: errors.New("the server is away")}
		u := d.upkeep(time.Hour)
		renew := u.renew
		u.renew = func(ctx context.Context) (from, until time.Time, err error) {
			if len(d.renewals) == 3 {
				d.renewErr = nil
			}
			return renew(ctx)
		}
		if err := d.run(t, u, 80*time.Minute); err != nil || len(d.renewals) != 4 {
			t.Errorf("after three failures: %v, %d tries", err, len(d.renewals))
		}
	})
}

func TestUpkeepTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{gives: time.Hour, beatErr: errors.New("gone")}
		u := d.upkeep(100 * time.Hour)
		beat := u.beat
		u.beat = func(ctx context.Context) error {
			if d.beats == 5 {
				d.beatErr = nil
			}
			return beat(ctx)
		}
		if err := d.run(t, u, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		if want := []string{"the server does not take the heartbeat: gone", "the server takes the heartbeat again"}; !slices.Equal(d.said, want) {
			t.Errorf("said %q", d.said)
		}
	})
}

// An end in the middle of a renewal is no failure.
func TestUpkeepStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{takes: time.Hour, gives: time.Hour}
		if err := d.run(t, d.upkeep(time.Hour), 55*time.Minute); err != nil || len(d.renewals) != 1 || len(d.said) > 0 {
			t.Errorf("ended with %v after %d renewals, and said %q", err, len(d.renewals), d.said)
		}
	})
}
