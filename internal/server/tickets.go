package server

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
)

// withTickets has a session be resumed only while everything is in force that
// its handshake rested on: the certificates that are shown, and the authorities
// of clients. Whoever comes with an older ticket shakes hands anew, and sees the
// new certificate.
func (s *Server) withTickets(config *tls.Config) *tls.Config {
	// The keys of tickets are this one's, which replaces them every day.
	sealer := new(tls.Config)
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, s.handshakeFacts())
		return sealer.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := sealer.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		if n := len(session.Extra); n == 0 || !bytes.Equal(session.Extra[n-1], s.handshakeFacts()) {
			return nil, nil
		}
		return session, nil
	}
	return config
}

// handshakeFacts is a digest of what a handshake rests on now.
func (s *Server) handshakeFacts() []byte {
	digest := sha256.New()
	show := func(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) {
		// One that cannot be shown is no fact; the handshake fails by itself.
		if cert, err := get(&tls.ClientHelloInfo{}); err == nil && len(cert.Certificate) > 0 {
			digest.Write(cert.Certificate[0])
		}
	}
	show(s.material.serving.GetCertificate)
	for _, n := range s.material.named {
		show(n.pair.GetCertificate)
	}
	return binary.BigEndian.AppendUint64(digest.Sum(nil), s.credentials.trusts.Load())
}
