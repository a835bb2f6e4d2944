package listener_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse.dev/gatehouse/internal/listener"
)

// A street is a listener whose connections come when the test says so, from
// where it says.
type street struct {
	t        *testing.T
	arriving chan net.Conn
	*listener.Listener
	log strings.Builder
}

func newStreet(t *testing.T, maxConns, maxHandshakes int) *street {
	s := &street{t: t, arriving: make(chan net.Conn)}
	s.Listener = listener.New(s, listener.Config{
		MaxConns: maxConns, MaxHandshakes: maxHandshakes,
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	return s
}

// Accept implements [net.Listener].
func (s *street) Accept() (net.Conn, error) {
	if c := <-s.arriving; c != nil {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (s *street) Close() error   { return nil }
func (s *street) Addr() net.Addr { return &net.TCPAddr{} }

// A guest is both ends of a connection.
type guest struct {
	net.Conn          // ours
	there    net.Conn // the client's
}

type from struct {
	net.Conn
	address net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.address }

// arrive brings a connection from an address. It is nil if it was refused.
func (s *street) arrive(address string) *guest {
	s.t.Helper()
	here, there := net.Pipe()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := s.Listener.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	s.arriving <- from{here, &net.TCPAddr{IP: net.ParseIP(address), Port: 1}}
	synctest.Wait()
	select {
	case c := <-accepted:
		return &guest{c, there}
	default:
		// It waits for another one; there is none.
		s.arriving <- nil
		<-accepted
		return nil
	}
}

// in brings a connection into a state of net/http.
func (s *street) in(state http.ConnState, address string) *guest {
	s.t.Helper()
	g := s.arrive(address)
	s.Track(g.Conn, http.StateActive)
	if state == http.StateIdle {
		s.Track(g.Conn, http.StateIdle)
	}
	return g
}

// open reports whether the client still has its connection.
func (g *guest) open() bool {
	_ = g.there.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := g.there.Read(make([]byte, 1))
	return err != io.EOF
}

// want fails the test unless exactly the guests that are named are gone.
func want(t *testing.T, guests map[string]*guest, gone ...string) {
	t.Helper()
	left := map[string]bool{}
	for _, name := range gone {
		left[name] = true
	}
	for name, g := range guests {
		if g.open() == left[name] {
			t.Errorf("%s: open is %v, want %v", name, !left[name], left[name])
		}
	}
}

const (
	crowded = "192.0.2.1"
	quiet   = "192.0.2.2"
	other   = "192.0.2.3"
)

func TestWhileThereIsRoomNobodyGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 3, 1)
		guests := map[string]*guest{"a": s.arrive(crowded), "b": s.arrive(crowded), "c": s.arrive(crowded)}
		time.Sleep(time.Hour)
		want(t, guests)
		if stats := s.Stats(); stats.Open != 3 || stats.Refused != 0 || stats.Shed[listener.Silent] != 0 {
			t.Errorf("Stats() = %+v, want 3 open and nothing else", stats)
		}
	})
}

func TestHeaviestPeerGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 4, 1)
		guests := map[string]*guest{"quiet": s.arrive(quiet)}
		for _, name := range []string{"first", "second", "third"} {
			guests[name] = s.arrive(crowded)
		}
		time.Sleep(2 * time.Second)
		guests["newcomer"] = s.arrive(other)
		want(t, guests, "first")
		if shed := s.Stats().Shed[listener.Silent]; shed != 1 {
			t.Errorf("%d silent connections were shed, want 1", shed)
		}
		if !strings.Contains(s.log.String(), "connections are shed") {
			t.Errorf("the log does not say that connections are shed: %s", &s.log)
		}
	})
}

// Those who have just come may be slow for our own fault.
func TestSilenceGoesBeforeHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 4, 1)
		guests := map[string]*guest{"silent": s.arrive(quiet)}
		time.Sleep(2 * time.Second)
		for _, name := range []string{"first", "second", "third"} {
			guests[name] = s.arrive(crowded)
		}
		guests["newcomer"] = s.arrive(other)
		want(t, guests, "silent")
		// The last to come has the least to lose, and goes for one who has less.
		guests["next"] = s.arrive(quiet)
		want(t, guests, "silent", "third")
		if s.arrive(crowded) != nil {
			t.Error("one of a crowd at its handshakes drove out another")
		}
		want(t, guests, "silent", "third")
	})
}

func TestHandshakesOfOnePeerSpareWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 8, 1)
		guests := map[string]*guest{}
		for i := range 8 {
			guests[fmt.Sprint("idle ", i)] = s.in(http.StateIdle, quiet)
			time.Sleep(time.Second)
		}
		for i := range 2 {
			guests[fmt.Sprint("greeting ", i)] = s.arrive(crowded)
		}
		if s.arrive(crowded) != nil {
			t.Error("one peer has more than a quarter of all connections at their handshakes")
		}
		guests["other"] = s.arrive(other)
		want(t, guests, "idle 0", "idle 1", "idle 2")
	})
}

func TestWhoWaitsForUsIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 3, 1)
		guests := map[string]*guest{"working": s.arrive(crowded), "waiting": s.arrive(crowded), "silent": s.arrive(quiet)}
		for _, name := range []string{"working", "waiting"} {
			go read(guests[name])
			speak(guests[name])
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		guests["newcomer"] = s.arrive(other)
		want(t, guests, "silent")
		guests["waiting"].Close()
	})
}

func TestIdleGoAfterTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 5, 1)
		guests := map[string]*guest{"only": s.in(http.StateIdle, quiet), "used": s.in(http.StateActive, crowded)}
		for _, name := range []string{"short", "long"} {
			guests[name] = s.in(http.StateIdle, crowded)
			time.Sleep(time.Second)
		}
		// The one that came first was idle last.
		s.Track(guests["short"].Conn, http.StateActive)
		s.Track(guests["short"].Conn, http.StateIdle)
		guests["silent"] = s.arrive(other)
		time.Sleep(2 * time.Second)
		guests["newcomer"] = s.in(http.StateActive, other)
		want(t, guests, "silent")
		guests["next"] = s.in(http.StateActive, other)
		want(t, guests, "silent", "long")
		guests["last"] = s.in(http.StateActive, other)
		want(t, guests, "silent", "long", "only")
	})
}

func TestWhatIsInUseIsCutForThoseWhoHaveLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 4, 1)
		guests := map[string]*guest{}
		for _, name := range []string{"first", "second", "third", "fourth"} {
			guests[name] = s.in(http.StateActive, crowded)
		}
		if s.arrive(crowded) != nil {
			t.Error("a peer that holds everything got one more")
		}
		want(t, guests)
		guests["newcomer"] = s.in(http.StateActive, quiet)
		want(t, guests, "fourth")
		// Equal shares: nobody has to give.
		guests["next"] = s.in(http.StateActive, quiet)
		want(t, guests, "fourth", "third")
		if s.arrive(quiet) != nil {
			t.Error("a peer got more than its share of what is in use")
		}
		stats := s.Stats()
		if stats.Open != 4 || stats.Refused != 2 || stats.Shed[listener.InUse] != 2 {
			t.Errorf("Stats() = %+v, want 4 open, 2 refused and 2 in use shed", stats)
		}
	})
}

func TestClosedConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 2, 1)
		for i := range 10 {
			guests := map[string]*guest{"a": s.arrive(crowded), "b": s.in(http.StateIdle, quiet)}
			want(t, guests)
			for _, g := range guests {
				g.Close()
				g.Close()
			}
			if open := s.Stats().Open; open != 0 {
				t.Fatalf("round %d: %d are open after all were closed", i, open)
			}
		}
	})
}

func TestPeers(t *testing.T) {
	tests := []struct {
		name, one, another string
		same               bool
	}{
		{"IPv4", "192.0.2.1", "192.0.2.1", true},
		{"neighbours", "192.0.2.1", "192.0.2.2", false},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1", true},
		{"one customer's IPv6", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"two customers' IPv6", "2001:db8:0:1::1", "2001:db8:0:2::1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t, 3, 1)
				// If they are one peer it is the heaviest, or else both are as
				// heavy as the stranger, who came first.
				guests := map[string]*guest{"stranger": s.arrive("198.51.100.1"), "one": s.arrive(test.one), "another": s.arrive(test.another)}
				time.Sleep(2 * time.Second)
				guests["newcomer"] = s.arrive("198.51.100.2")
				gone := "stranger"
				if test.same {
					gone = "one"
				}
				want(t, guests, gone)
			})
		})
	}
}

// Many are given up at once, each from whoever has most by then.
func TestManyAreSharedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, 640, 1)
		count := map[string]int{}
		guests := map[string]*guest{}
		for address, n := range map[string]int{crowded: 400, other: 239, quiet: 1} {
			for i := range n {
				guests[fmt.Sprint(address, " ", i)] = s.arrive(address)
			}
		}
		time.Sleep(2 * time.Second)
		for range 300 {
			s.arrive("192.0.2.9")
			time.Sleep(2 * time.Second)
		}
		for name, g := range guests {
			if g.open() {
				address, _, _ := strings.Cut(name, " ")
				count[address]++
			}
		}
		if diff := count[crowded] - count[other]; count[quiet] != 1 || diff < -1 || diff > 1 || count[other] < 150 {
			t.Errorf("after 300 newcomers %v are left, want equal shares for the heavy and the one of the light", count)
		}
	})
}
