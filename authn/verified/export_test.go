package verified

import "unsafe"

// Digesters returns one of each kind, under random keys, for the tests.
func Digesters() (map[string]func(kind, credential string, audiences []string) Key, error) {
	g, err := newGMAC()
	if err != nil {
		return nil, err
	}
	with := func(d digester) func(string, string, []string) Key {
		return func(kind, credential string, audiences []string) Key {
			return keyOf(d, kind, credential, audiences)
		}
	}
	return map[string]func(string, string, []string) Key{"gmac": with(g), "hmac": with(newHMAC())}, nil
}

// AfterGivingBack returns what is left of what somebody writes into a scratch as
// soon as it is given back, when the one who has given it back is done.
func AfterGivingBack(writes string) string {
	n := &next{writes: writes}
	keyOfParts(n, "kind", [][]byte{[]byte("a certificate of some length"), []byte("another one")})
	return string(n.s.frame)
}

// A next is a digester whose scratch is taken by somebody else at once.
type next struct {
	s      scratch
	writes string
}

func (n *next) scratch() *scratch { return &n.s }

func (n *next) sum(s *scratch, _ []byte) Key {
	s.wipe()
	s.frame = append(s.frame, n.writes...)
	return Key{}
}

// EntrySize is that of an entry of [Results].
const EntrySize = unsafe.Sizeof(Entry[remembered]{})

// Like is like.
func Like(tags, tag uint64) uint64 { return like(tags, tag) }
