// Package peers holds Gatehouse to programs that others wrote and that stand
// beside it in a real installation: providers of identities, the plugins of
// kubectl that log in with them, and proxies that authenticate callers.
//
// Each is the real thing, of an exact version, in a process of its own. What is
// written in Go is built from its published module; test/need.sh and npm get the
// rest. Nothing is passed over because it is missing.
package peers
