package server

import (
	"bytes"
	"crypto/tls"
)

// A ticketSeal seals the tickets of sessions, whatever the facts are. Its keys are
// those of the standard library, which replaces them every day.
type ticketSeal struct{ keys *tls.Config }

func newTicketSeal() ticketSeal { return ticketSeal{new(tls.Config)} }

// bind has a session be resumed only while the facts are in force that its
// handshake rested on. Whoever comes with an older ticket shakes hands anew, and
// sees the new certificate.
func (t ticketSeal) bind(config *tls.Config, facts []byte) {
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, facts)
		return t.keys.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := t.keys.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		if n := len(session.Extra); n == 0 || !bytes.Equal(session.Extra[n-1], facts) {
			return nil, nil
		}
		return session, nil
	}
}
