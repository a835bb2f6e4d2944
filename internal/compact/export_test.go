package compact

// Memory is what was decoded with s, all of it.
func Memory(s *Shared) []byte { return s.read.token.decoded[:cap(s.read.token.decoded)] }
