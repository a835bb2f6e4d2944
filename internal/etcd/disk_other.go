//go:build !linux && !darwin && !freebsd

package etcd

// freeBytes does not know how to ask on this system.
func freeBytes(string) (uint64, bool) { return 0, false }
