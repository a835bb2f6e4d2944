package main

import (
	"math"
	"net/http"

	"gatehouse.dev/gatehouse/bench/measure"
)

// batch is how many requests are made ready at a time where that does not count:
// few enough for their headers to be near the processor when their turn comes, and
// many enough for the clock not to be seen.
const batch = 128

// A presenter has requests, which it may have to make ready.
type presenter struct {
	size  int
	ready func(from int) // a number of them, from one on
	next  func(i int) *http.Request
}

// each presents requests that need no preparation.
func each(next func(i int) *http.Request) presenter { return presenter{size: math.MaxInt, next: next} }

// arriving presents each of the tokens in turn, as a server finds them. Upstream
// takes the header out of the request, which is put back in time.
//
// If the text is near, its bytes have just been looked at: a server has read them
// from a connection, and decrypted them. Far away is a text that nobody has
// touched since its last turn, which no server sees.
func arriving(tokens []string, near bool) presenter {
	values := make([][]string, len(tokens))
	for i, t := range tokens {
		values[i] = []string{"Bearer " + t}
	}
	requests := make([]*http.Request, batch)
	for i := range requests {
		requests[i] = newHolder().r
	}
	seen := byte(0)
	return presenter{
		size: batch,
		ready: func(from int) {
			for i, r := range requests {
				value := values[(from+i)%len(values)]
				r.Header["Authorization"] = value
				for at := 0; near && at < len(value[0]); at++ {
					seen += value[0][at]
				}
			}
		},
		next: func(i int) *http.Request { return requests[i%batch] },
	}
}

// asking asks somebody about the requests.
func (p presenter) asking(ask func(*http.Request)) measure.Batched {
	return measure.Batched{Size: p.size, Prepare: p.ready, Do: func(from, n int) {
		for i := from; i < from+n; i++ {
			ask(p.next(i))
		}
	}}
}

// first is one of the requests.
func (p presenter) first() *http.Request {
	if p.ready != nil {
		p.ready(0)
	}
	return p.next(0)
}
