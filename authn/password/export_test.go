package password

import (
	"net/http"

	"gatehouse.dev/gatehouse/internal/passhash"
)

// The bounds, for tests of them.
const (
	MostInside   = mostInside
	MostSlowed   = mostSlowed
	MostTogether = mostTogether
	MostVisits   = mostVisits
	Remember     = remember
	Lately       = lately
	MaxPair      = maxPair
	Remembered   = remembered
)

var ByPair, ByName = byPair, byName

// Parsers of outside bytes, for fuzzing.
func Read(h http.Header) (name, password string, err error) {
	p, err := read(h)
	return p.name, p.password, err
}

func ReadCSV(data []byte) (int, error) {
	r, err := digestKey("key").readCSV(data)
	if err != nil {
		return 0, err
	}
	return len(r.lines), nil
}

func ReadHtpasswd(data []byte) (names []string, kinds int, err error) {
	r, err := readHtpasswd(data)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range r.lines {
		names = append(names, l.name)
	}
	return names, len(r.decoys), nil
}

func ReadGroups(data []byte) (map[string][]string, error) { return readGroups(data) }

// A Slow hash does what a test says while it compares.
type Slow func(password string) bool

func (s Slow) Matches(password string) bool { return s(password) }

// Fixed returns a source of users whose passwords are compared by tests, with
// decoys of as many kinds as there are users.
func Fixed(users map[string]Slow, decoy Slow) *Source {
	s := &Source{path: "fixed"}
	now := &accounts{accounts: map[string]*account{}}
	for name, h := range users {
		w := passhash.Work{Algorithm: "test", Cost: len(now.accounts) + 1}
		now.accounts[name] = newAccount("fixed", &line{name: name, hash: h, work: w}, nil)
		now.decoys = append(now.decoys, decoyOf(w, decoy))
	}
	s.current.Store(now)
	return s
}

func decoyOf(w passhash.Work, h hash) decoy { return decoy{w, h} }
