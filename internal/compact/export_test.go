package compact

// Memory is what was decoded with s, all of it.
func Memory(s *Shared) []byte { return s.read.token.decoded[:cap(s.read.token.decoded)] }

// Noted is what is noted with t.
func Noted(t *Token) []byte { return t.cuts.text }
