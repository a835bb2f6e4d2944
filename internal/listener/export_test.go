package listener

// ConnsOf is what [MostConns] makes of a number of files.
func ConnsOf(files uint64) int { return connsOf(files) }
