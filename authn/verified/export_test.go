package verified

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
