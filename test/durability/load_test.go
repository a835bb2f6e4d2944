package durability_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	writers       = 8
	keysPerWriter = 12
	// gone is the value of an object that is not there.
	gone = 0
)

// A slot is what is known of one object: the value that was acknowledged last,
// and the one that was asked for last, which may or may not be there. No value
// is used twice.
type slot struct{ acked, asked, used int }

// A load writes objects and remembers what was acknowledged. Half of them are
// Secrets, which are encrypted. Each writer has objects of its own, and creates,
// updates and deletes them in turn.
type load struct {
	slots    [writers][keysPerWriter]slot
	acked    atomic.Int64
	revision atomic.Int64 // the highest that was seen in an answer
	deletes  bool
	offset   int // keeps the objects of two loads apart
}

func (l *load) path(w, k int) (collection, name string) {
	collection = "/api/v1/namespaces/default/configmaps"
	if k%2 == 1 {
		collection = "/api/v1/namespaces/default/secrets"
	}
	return collection, fmt.Sprintf("load-%d-%d", l.offset+w, k)
}

// run writes until ctx is done or the server does not answer. Every refusal is
// returned: there is no reason for one.
func (l *load) run(ctx context.Context, c *client) error {
	var group sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				err := l.write(ctx, c, w, n%keysPerWriter)
				if _, ok := err.(*refused); ok {
					errs <- err
				}
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// write takes the next step with one object.
func (l *load) write(ctx context.Context, c *client, w, k int) error {
	s := &l.slots[w][k]
	collection, name := l.path(w, k)
	method, path := http.MethodPut, collection+"/"+name
	s.used++
	switch {
	case s.acked == gone:
		method, path = http.MethodPost, collection
	case l.deletes && rand.N(5) == 0:
		s.asked = gone
		if err := c.do(ctx, http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		s.acked = gone
		l.acked.Add(1)
		return nil
	}
	var body any = configMap(name, strconv.Itoa(s.used))
	if k%2 == 1 {
		body = secret(name, strconv.Itoa(s.used))
	}
	s.asked = s.used
	var answer struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := c.do(ctx, method, path, body, &answer); err != nil {
		return err
	}
	s.acked = s.asked
	l.acked.Add(1)
	l.saw(answer.Metadata.ResourceVersion)
	return nil
}

func (l *load) saw(version string) {
	n, _ := strconv.ParseInt(version, 10, 64)
	for {
		seen := l.revision.Load()
		if n <= seen || l.revision.CompareAndSwap(seen, n) {
			return
		}
	}
}

// stored returns the values that a server has, and the revision of the lists.
func (l *load) stored(t *testing.T, c *client) (values map[string]int, revision int64) {
	t.Helper()
	values = map[string]int{}
	for k, collection := range []string{"/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/secrets"} {
		var list struct {
			Metadata metav1.ListMeta `json:"metadata"`
			Items    []struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
				Data     map[string]any    `json:"data"`
			} `json:"items"`
		}
		c.must(t, "GET", collection, nil, &list)
		revision, _ = strconv.ParseInt(list.Metadata.ResourceVersion, 10, 64)
		for _, o := range list.Items {
			text, _ := o.Data["v"].(string)
			if k == 1 {
				text = fromBase64(text)
			}
			values[collection+"/"+o.Metadata.Name], _ = strconv.Atoi(text)
		}
	}
	return values, revision
}

// check compares what a server has with what was acknowledged, and takes what it
// has as what is known from now on. It returns how many objects are there.
func (l *load) check(t *testing.T, c *client) int {
	t.Helper()
	values, revision := l.stored(t, c)
	if seen := l.revision.Load(); revision < seen {
		t.Errorf("the store is at revision %d, and has answered with %d before", revision, seen)
	}
	there := 0
	for w := range l.slots {
		for k := range l.slots[w] {
			s := &l.slots[w][k]
			collection, name := l.path(w, k)
			got := values[collection+"/"+name]
			if got != s.acked && got != s.asked {
				t.Errorf("%s/%s is %d; %d was acknowledged last, and %d asked for", collection, name, got, s.acked, s.asked)
			}
			if got != gone {
				there++
			}
			s.acked, s.asked = got, got
		}
	}
	return there
}
