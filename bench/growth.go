package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"

	"gatehouse.dev/gatehouse/authn"
	"gatehouse.dev/gatehouse/authn/statictoken"
	"gatehouse.dev/gatehouse/authn/verified"
	"gatehouse.dev/gatehouse/bench/measure"
)

const (
	// millions is how many static tokens a file has, and used how many of them
	// somebody uses.
	millions = 1_000_000
	used     = 100_000
	// staticTarget is what one of them costs.
	staticTarget = 500 * time.Nanosecond
	// touched is how many places of memory that may be far away a remembered
	// token leads to: the text of the token, which is 16 lines of the cache but
	// in a row; its bucket; the entry, with the result and what it rests on; three
	// generations; the identity.
	touched = 7
)

// growth measures whether a remembered token costs more among many.
func growth(t *measure.Table) error {
	t.Section("A remembered token of 1 KiB among many, each of an account of its own")
	latency := memoryLatency()
	t.Alone("memory far away, one place", measure.Show(latency.CPU), false, "")
	var least measure.Cost
	for _, n := range []int{10, 1_000, 100_000} {
		b := &booth{}
		var tokens []string
		b.accounts, tokens = accountTokens(n)
		table, err := verified.NewResults(max(n, 64) * 2)
		if err != nil {
			return err
		}
		b.ours = authn.Bearer(verified.Tokens(table, authn.AnyBearer, b.stand(authn.NewStripes())))
		rand.Shuffle(n, func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
		next := bearing(tokens)
		for i := range n {
			if _, err := b.ours.Authenticate(next(i)); err != nil {
				return err
			}
		}
		cost := measure.One(b.askOurs(next))
		over, limit := false, ""
		if least.CPU == 0 {
			least = cost
		} else {
			most := least.CPU + touched*latency.CPU
			over = measure.Exceeds(float64(cost.CPU), float64(cost.Noise), float64(most))
			limit = measure.Show(most)
		}
		t.Alone(fmt.Sprintf("%d accounts", n), measure.Show(cost.CPU), over, limit)
		t.None(fmt.Sprintf("allocations among %d", n), cost.Allocs)
	}
	return nil
}

// memoryLatency measures one load that depends on the one before it, in more
// memory than a processor keeps near.
func memoryLatency() measure.Cost {
	const lines = 1 << 20
	type line struct {
		next *line
		_    [56]byte
	}
	all := make([]line, lines)
	order := rand.Perm(lines)
	for i, at := range order {
		all[at].next = &all[order[(i+1)%lines]]
	}
	at := &all[0]
	return measure.One(func(n int) {
		for range n {
			at = at.next
		}
		runtime.KeepAlive(at)
	})
}

// million measures a large file of static tokens.
func million(t *measure.Table, dir string) error {
	path, tokens, err := (&booth{dir: dir}).staticTokens(millions)
	if err != nil {
		return err
	}
	t.Section(fmt.Sprintf("A file of %d static tokens (upstream: its token file alone, without the union and the cache)", millions))
	var theirs *tokenfile.TokenAuthenticator
	var ours *statictoken.Verifier
	theirCost, theirBytes, err := load(func() (err error) { theirs, err = tokenfile.NewCSV(path); return err })
	if err != nil {
		return err
	}
	ourCost, ourBytes, err := load(func() (err error) {
		ours, err = statictoken.Open(statictoken.Config{Path: path, Key: bytes.Repeat([]byte("k"), 32), Audiences: []string{issuer}})
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	t.Relative("reading it", ourCost, theirCost, measure.Ratio{Value: float64(ourCost.CPU) / float64(theirCost.CPU)}, 0)
	t.Alone("memory for a token", fmt.Sprintf("%.0f bytes (upstream %.0f)", ourBytes, theirBytes), ourBytes > theirBytes, "upstream's")

	rand.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	table, err := verified.NewResults(4 * population)
	if err != nil {
		return err
	}
	b := &booth{ours: authn.Bearer(authn.Shortcut(ours, verified.Tokens(table, authn.AnyBearer, authn.Tokens(ours))))}
	next := bearing(tokens[:used])
	_, more, err := load(func() error { return eachOnce(b.ours, next) })
	if err != nil {
		return err
	}
	t.Alone("and when it has been used", fmt.Sprintf("%.0f bytes", ourBytes+more*millions/used), false, "")
	agnostic := authenticator.WrapAudienceAgnosticToken(authenticator.Audiences{issuer}, theirs)
	ask, peers, ratio := measure.Both(b.askOurs(next), func(n int) {
		for i := range n {
			_, _, _ = agnostic.AuthenticateToken(next(i).Context(), tokens[i%used])
		}
	})
	t.Absolute("one of them, from the header to the identity", ask, peers, ratio, staticTarget)
	return nil
}

func eachOnce(a authn.Authenticator, next func(int) *http.Request) error {
	for i := range used {
		if _, err := a.Authenticate(next(i)); err != nil {
			return err
		}
	}
	return nil
}

// load does something once, and returns what it costs and how many bytes for
// each of millions stay.
func load(do func() error) (measure.Cost, float64, error) {
	before := heap()
	var failed error
	cost := measure.Once(func() { failed = do() })
	return cost, (heap() - before) / millions, failed
}

// heap returns the bytes in use.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied at the second one
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
