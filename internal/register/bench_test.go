package register_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/fields"

	"gatehouse.dev/gatehouse/identity"
	"gatehouse.dev/gatehouse/internal/etcd/ledger"
	"gatehouse.dev/gatehouse/internal/register"
)

// bound is a token as a kubelet gets one for a pod.
func bound(n int) *register.Entry {
	return &register.Entry{
		Method: identity.ServiceAccount, Issuer: "https://kubernetes.default.svc.cluster.local", ID: "JTI=" + jti(n),
		User: fmt.Sprintf("system:serviceaccount:team-%d:worker", n%1000), UID: "0f3c1c64-8a0e-4f8e-9a53-0d1f2b3c4d5e",
		Audiences: []string{"https://kubernetes.default.svc.cluster.local"},
		Asker: register.Asker{
			User: fmt.Sprintf("system:node:worker-%d", n%300), Method: identity.ClientCertificate, Address: "10.10.10.10",
			ID: "X509SHA256=710d29c2732e4b17908205caa94fb85ed552485595094651f8621f1d989383f8",
		},
		Bound:  &register.Reference{Kind: "Pod", Namespace: fmt.Sprintf("team-%d", n%1000), Name: fmt.Sprintf("worker-5d8f9c7b6-%05d", n%100000), UID: "c0ffee00-8a0e-4f8e-9a53-0d1f2b3c4d5e"},
		Issued: time.Now(), Expires: time.Now().Add(time.Hour + time.Duration(n%3600)*time.Second),
	}
}

// entries is how many a list is measured with: 100,000, or what
// GATEHOUSE_BENCH_ENTRIES says.
func entries(b *testing.B) int {
	text := os.Getenv("GATEHOUSE_BENCH_ENTRIES")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func fill(b *testing.B, r *register.Register, n int) {
	var all sync.WaitGroup
	const workers = 512
	begin := time.Now()
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				if err := r.Record(context.Background(), bound(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.Logf("%d entries in %v, %.0f in a second", n, time.Since(begin).Round(time.Millisecond), float64(n)/time.Since(begin).Seconds())
}

// BenchmarkRecord writes entries, one after the other and many at the same time,
// into etcd with fsync.
func BenchmarkRecord(b *testing.B) {
	for _, workers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			r, _, _ := inStore(b)
			next := make(chan int)
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					for i := range next {
						if err := r.Record(context.Background(), bound(i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			i := 0
			for b.Loop() {
				next <- i
				i++
			}
			close(next)
			all.Wait()
		})
	}
}

// BenchmarkList reads a full register: all of it, a page, what ends soon, and what
// one user has, which looks at every entry.
func BenchmarkList(b *testing.B) {
	r, _, client := inStore(b)
	n := entries(b)
	empty := size(b, client)
	fill(b, r, n)
	b.Logf("%d bytes of the store for an entry", (size(b, client)-empty)/int64(n))
	user, err := register.Choose(fields.OneTermEqualSelector(register.FieldUser, "system:serviceaccount:team-7:worker"), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	soon := time.Now().Add(time.Hour + time.Minute)
	for _, bm := range []struct {
		name string
		q    register.Query
	}{
		{"all", register.Query{}},
		{"page", register.Query{Most: 500}},
		{"soon", register.Query{Until: soon}},
		{"user", user},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			found, before := 0, processor()
			for b.Loop() {
				found = 0
				if _, err := r.List(b.Context(), bm.q, func(all []*register.Entry) error { found += len(all); return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(found), "entries")
			b.ReportMetric(float64((processor()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
	rows := ledger.New(client, "/gatehouse/register/")
	b.Run("sweep", func(b *testing.B) {
		for b.Loop() {
			if _, err := rows.Sweep(b.Context(), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if err := r.Count(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// processor returns the time that this process, with the store in it, has had a
// processor for: a machine that others use too does not change it much.
func processor() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func size(b *testing.B, client *clientv3.Client) int64 {
	status, err := client.Status(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	return status.DbSizeInUse
}
