package keyring

import (
	"errors"
	"sync/atomic"

	"gatehouse.dev/gatehouse/internal/reload"
)

// Follow is [Load] of files that are followed: a change of any of them is a
// change of the whole ring, and none takes effect while another is bad. Accept,
// which may be nil, has the last word about every ring that was read; notify,
// which may be nil, is called after each later change, with nil once another
// ring is in force, or with the problem.
func Follow(signingFile string, verificationFiles []string, accept func(*Ring) error, notify func(error)) (*reload.File[*Ring], error) {
	first := signingFile
	if first == "" {
		if len(verificationFiles) == 0 {
			return nil, errNoFile
		}
		first = verificationFiles[0]
	}
	parse := func(text []byte, other reload.Reader) (*Ring, error) {
		read := func(path string) ([]byte, error) {
			if path == first {
				return text, nil
			}
			return other(path)
		}
		ring, err := load(read, signingFile, verificationFiles)
		if err == nil && accept != nil {
			err = accept(ring)
		}
		if err != nil {
			return nil, err
		}
		return ring, nil
	}
	return reload.OpenSet(first, parse, notify)
}

var errNoFile = errors.New("no file of service account keys given: nothing could be signed or verified")

// A Live ring is one that is replaced while others sign with it. Make one with
// [NewLive].
type Live struct{ current atomic.Pointer[Ring] }

// NewLive returns a live ring that is ring until it is replaced.
func NewLive(ring *Ring) *Live {
	l := new(Live)
	l.Replace(ring)
	return l
}

// Replace puts another ring in force.
func (l *Live) Replace(ring *Ring) { l.current.Store(ring) }

// Ring returns the ring that is in force.
func (l *Live) Ring() *Ring { return l.current.Load() }
