package listener

import "syscall"

const (
	// spareFiles is what is left for the store, logs, certificates and calls to
	// others, at least; a quarter of all is.
	spareFiles = 128
	// mostConns is what one process holds at most, however many files it may
	// open: at 40 KiB each, 1.3 GiB. More clients need more replicas, which
	// share the handshakes as well.
	mostConns = 32 << 10
	// fewConns is used where the system does not say how many files it may open.
	fewConns = 4 << 10
)

// MostConns returns how many connections this process may hold open, from the
// number of files it may open (RLIMIT_NOFILE): three quarters of it, at most
// 32768.
func MostConns() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fewConns
	}
	return connsOf(files.Cur)
}

func connsOf(files uint64) int {
	files = min(files, 4*mostConns)
	return int(min(mostConns, max(16, files-min(files, max(files/4, spareFiles)))))
}
