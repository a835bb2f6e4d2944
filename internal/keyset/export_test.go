package keyset

import (
	"net/http"
	"time"
)

// ParseDiscovery reads a discovery document.
func ParseDiscovery(text []byte, issuer string) (string, error) { return parseDiscovery(text, issuer) }

// Freshness returns how long an answer with these headers is fresh.
func Freshness(h http.Header, now time.Time) time.Duration { return freshness(h, now) }
