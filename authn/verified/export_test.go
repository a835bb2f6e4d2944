package verified

// Digesters returns one of each kind, under random keys, for the tests.
func Digesters() (map[string]func(kind, credential string, audiences []string) Key, error) {
	g, err := newGMAC()
	if err != nil {
		return nil, err
	}
	return map[string]func(string, string, []string) Key{"gmac": g.sum, "hmac": newHMAC().sum}, nil
}
