package controller_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/controller"
	"gatehouse.dev/gatehouse/internal/controller/controllertest"
)

func TestRunnerRestartsWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var seen calls
		fails := 0
		runner := controller.Runner{
			Controllers: []controller.Named{
				{Name: "steady", Run: func(ctx context.Context) error {
					seen.add("steady at %v", time.Since(began))
					<-ctx.Done()
					return nil
				}},
				{Name: "failing", Run: func(ctx context.Context) error {
					time.Sleep(time.Millisecond)
					fails++
					seen.add("failure %d at %v", fails, time.Since(began))
					switch fails {
					case 1:
						return errors.New("refused")
					case 2:
						panic("broken")
					case 3:
						return nil // although not told to
					}
					<-ctx.Done()
					return ctx.Err()
				}},
			},
			Log: controllertest.Log(t),
		}
		controllertest.Start(t, nil, runner.Run)
		time.Sleep(time.Hour)
		expect(t, "in an hour", seen.take(),
			"steady at 0s", "failure 1 at 1ms", "failure 2 at 1.002s", "failure 3 at 3.003s", "failure 4 at 7.004s")
	})
}

// A term leads for a while, twice.
type term struct{ length time.Duration }

func (l term) Run(ctx context.Context, lead func(context.Context) error) error {
	for range 2 {
		ctx, cancel := context.WithTimeout(ctx, l.length)
		err := lead(ctx)
		cancel()
		if err != nil {
			return err
		}
		time.Sleep(time.Minute)
	}
	return nil
}

func TestRunnerFollowsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var seen calls
		runner := controller.Runner{
			Leader: term{10 * time.Second},
			Controllers: []controller.Named{{Name: "only", Run: func(ctx context.Context) error {
				seen.add("start at %v", time.Since(began))
				<-ctx.Done()
				seen.add("stop at %v", time.Since(began))
				return nil
			}}},
			Log: controllertest.Log(t),
		}
		if err := runner.Run(t.Context()); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		expect(t, "in two terms", seen.take(), "start at 0s", "stop at 10s", "start at 1m10s", "stop at 1m20s")
	})
}

// What runs everywhere does so before, between and after the terms of the leader.
func TestRunnerEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var seen calls
		runner := controller.Runner{
			Leader:      term{10 * time.Second},
			Controllers: []controller.Named{{Name: "leader's", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}},
			Everywhere: []controller.Named{{Name: "all", Run: func(ctx context.Context) error {
				seen.add("start at %v", time.Since(began))
				<-ctx.Done()
				seen.add("stop at %v", time.Since(began))
				return nil
			}}},
			Log: controllertest.Log(t),
		}
		if err := runner.Run(t.Context()); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		expect(t, "in two terms", seen.take(), "start at 0s", "stop at 2m20s")
	})
}
