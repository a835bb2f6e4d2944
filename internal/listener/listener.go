// Package listener stands between the socket and net/http, and shares out what
// strangers can take before anybody knows who they are: open connections, and
// the work of TLS handshakes.
//
// The one idea: nobody is refused while there is room, and when there is none,
// whoever takes most gives up first. Room is the number of open connections,
// which cost a file descriptor and some 40 KiB each. When all is taken, one of
// the peer that holds most is closed: the oldest that has not sent a request
// yet; if there is none, the one that has been idle for longest; if there is
// none either, the youngest one in use of a peer that holds more than the
// newcomer's. The last case needs a peer with thousands of requests in flight.
// A handshake costs as much as forty requests, so those that are computing at
// the same time are few, and the peers take turns.
//
// A peer is an IPv4 address, or the first 64 bits of an IPv6 address, which one
// customer gets as a whole. Behind a proxy everybody is one peer: they compete
// with each other then, and nobody else with them.
//
// It refuses a newcomer only when there is nothing else to give up, or when its
// peer is bringing a quarter of all connections to a first request already.
package listener

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse.dev/gatehouse/internal/turns"
)

// logEvery is how often at most the log says that connections were shed.
const logEvery = 10 * time.Second

// Config is what a listener shares out. All fields must be set.
type Config struct {
	// MaxConns bounds the open connections.
	MaxConns int
	// MaxHandshakes bounds the connections that compute at the same time before
	// they have sent their first request.
	MaxHandshakes int
	Log           *slog.Logger
}

// A Listener accepts connections for net/http. Use [New].
type Listener struct {
	net.Listener
	cfg   Config
	turns *turns.Turns

	mu    sync.Mutex // guards what follows, and the lists of all peers
	open  int
	last  uint64 // the number of the last connection
	peers map[netip.Addr]*peer

	shed [classes]atomic.Uint64
	// refused are the newcomers that were closed.
	refused atomic.Uint64
	logged  atomic.Int64 // when the log was told last, in Unix nanoseconds
}

// New returns a listener of the connections that inner accepts.
func New(inner net.Listener, cfg Config) *Listener {
	return &Listener{
		Listener: inner, cfg: cfg,
		turns: turns.New(cfg.MaxHandshakes), peers: map[netip.Addr]*peer{},
	}
}

// Accept returns the next connection that there is room for, making some if
// there is none.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(inner); c != nil {
			return c, nil
		}
		_ = inner.Close()
	}
}

// admit gives the connection a place, or returns nil.
func (l *Listener) admit(inner net.Conn) net.Conn {
	from := PeerOf(inner)
	l.mu.Lock()
	var victims []*Conn
	if l.open >= l.cfg.MaxConns {
		victims = l.victims(from)
		for _, c := range victims {
			l.forget(c)
		}
	}
	full := l.open >= l.cfg.MaxConns
	var c *Conn
	if !full {
		c = l.add(inner, from)
	}
	l.mu.Unlock()
	l.tell(victims, full)
	for _, v := range victims {
		_ = v.Close()
	}
	if full {
		return nil
	}
	return c
}

// add counts a new connection. The lock is held.
func (l *Listener) add(inner net.Conn, from netip.Addr) *Conn {
	p := l.peers[from]
	if p == nil {
		p = newPeer(from)
		l.peers[from] = p
	}
	l.last++
	c := &Conn{Conn: inner, of: l, peer: p, number: l.last, done: make(chan struct{})}
	c.listening.Store(time.Now().UnixNano())
	c.place = p.silent.PushBack(c)
	l.open++
	return c
}

// forget stops counting a connection, once. The lock is held.
func (l *Listener) forget(c *Conn) {
	if c.place == nil {
		return
	}
	c.peer.list(c.spoken.Load()).Remove(c.place)
	c.place = nil
	l.open--
	if c.peer.size() == 0 {
		delete(l.peers, c.peer.address)
	}
}

// Track is for [http.Server.ConnState]: it tells the connections that are in
// use from those that are not.
func (l *Listener) Track(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, ok := nc.(*Conn)
	if !ok || c.of != l {
		return
	}
	switch state {
	case http.StateActive:
		c.idleSince.Store(0)
		c.speak()
	case http.StateIdle:
		c.idleSince.Store(time.Now().UnixNano())
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// tell counts what was shed, and says so in the log now and then.
func (l *Listener) tell(victims []*Conn, refused bool) {
	now := time.Now().UnixNano()
	for _, v := range victims {
		l.shed[v.class(now)].Add(1)
	}
	if refused {
		l.refused.Add(1)
	}
	if len(victims) == 0 && !refused {
		return
	}
	last := l.logged.Load()
	if last != 0 && now-last < int64(logEvery) || !l.logged.CompareAndSwap(last, now) {
		return
	}
	s := l.Stats()
	l.cfg.Log.WarnContext(context.Background(), "connections are shed: as many are open as may be",
		"open", s.Open, "silent", s.Shed[Silent], "greeting", s.Shed[Greeting], "idle", s.Shed[Idle], "inUse", s.Shed[InUse], "refused", s.Refused)
}

// Stats are the figures of a listener. What is counted is counted since it was
// made.
type Stats struct {
	// Open are the connections, of at most Most, and Waiting those whose
	// handshake waits for its turn, at this moment.
	Open, Most, Waiting int
	// Shed are the connections that were closed to make room, by what they were
	// doing, and Refused the newcomers that there was no room for.
	Shed    map[Class]uint64
	Refused uint64
}

// Stats returns the present figures.
func (l *Listener) Stats() Stats {
	s := Stats{Most: l.cfg.MaxConns, Waiting: l.turns.Waiting(), Shed: map[Class]uint64{}, Refused: l.refused.Load()}
	for class := range classes {
		s.Shed[class] = l.shed[class].Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Open = l.open
	return s
}

// PeerOf returns whom a connection is from: its IPv4 address, or the first 64
// bits of its IPv6 address. What has no address is from one peer.
func PeerOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if address.Is6() {
		return netip.PrefixFrom(address, 64).Masked().Addr()
	}
	return address
}
