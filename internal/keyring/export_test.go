package keyring

// Parse lets the fuzz test reach the parser without a file.
func Parse(path string, data []byte) (keys []Key, err error) {
	entries, err := parse(path, data)
	for _, e := range entries {
		keys = append(keys, e.key)
	}
	return keys, err
}
