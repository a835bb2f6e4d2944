package keyset

// ParseDiscovery reads a discovery document.
func ParseDiscovery(text []byte, issuer string) (string, error) { return parseDiscovery(text, issuer) }
