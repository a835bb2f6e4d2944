//go:build unix

package main

import "syscall"

// signals are those by which programs are told to read their files again, or to
// end.
func signals() []string { return []string{"HUP", "USR1", "USR2", "INT", "TERM", "QUIT"} }

func send(pid int, name string) error {
	return syscall.Kill(pid, map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "QUIT": syscall.SIGQUIT,
	}[name])
}
