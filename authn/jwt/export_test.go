package jwt

// Failed returns of how many tokens it is remembered that a claim could not be had.
func (v *Verifier) Failed() int {
	v.failed.mu.Lock()
	defer v.failed.mu.Unlock()
	return len(v.failed.of)
}
