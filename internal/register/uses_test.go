package register_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

func credential(n int) *identity.Credential {
	return &identity.Credential{Method: identity.ServiceAccount, ID: "JTI=" + jti(n), ExpiresAt: time.Unix(int64(5000+n), 0)}
}

func TestUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, counts := &memory{}, &counted{}
		uses := register.NewUses(store, counts, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { uses.Run(ctx); close(done) }()
		take := func() []ledger.Mark {
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			got := store.marks
			store.marks = nil
			return got
		}

		uses.Used(credential(1), 100)
		uses.Used(credential(2), 100)
		uses.Used(credential(1), 100)
		uses.Used(&identity.Credential{Method: identity.StaticToken, ID: "NAME=x"}, 100)
		got := take()
		if len(got) != 2 || got[0] != (ledger.Mark{Name: "jti-" + jti(1), Ends: time.Unix(5001, 0), Mark: 100}) {
			t.Fatalf("marks %+v", got)
		}
		uses.Used(credential(1), 100)
		if got := take(); len(got) != 0 {
			t.Errorf("a use of the same hour is written again: %+v", got)
		}
		uses.Used(credential(1), 101)
		if got := take(); len(got) != 1 || got[0].Mark != 101 {
			t.Errorf("a use of the next hour: %+v", got)
		}

		// What the store does not take is tried again.
		store.fail(errors.New("no leader"))
		uses.Used(credential(3), 101)
		if got := take(); len(got) != 0 || counts.usesFailed == 0 {
			t.Errorf("%+v were written, and %d failed", got, counts.usesFailed)
		}
		uses.Used(credential(3), 102)
		store.fail(nil)
		if got := take(); len(got) != 1 || got[0].Mark != 102 {
			t.Errorf("after the store is back: %+v", got)
		}

		// And the last ones are written at the end.
		uses.Used(credential(4), 102)
		cancel()
		<-done
		if len(store.marks) != 1 || !strings.HasSuffix(store.marks[0].Name, jti(4)) {
			t.Errorf("at the end: %+v", store.marks)
		}
	})
}

// A store that is gone for long does not make the process grow without an end.
func TestUsesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, counts := &memory{}, &counted{}
		uses := register.NewUses(store, counts, quiet())
		for i := range 100_500 {
			uses.Used(credential(i), 100)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		uses.Run(ctx)
		if len(store.marks) != 100_000 {
			t.Errorf("%d uses waited", len(store.marks))
		}
	})
}
