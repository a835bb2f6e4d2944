// Package conformance holds Gatehouse to what its clients do. Clients that
// nobody of us wrote run against the built binary, and the scripts in testdata
// say what they must print: not only that a command succeeds, but its columns,
// its messages and its refusals.
package conformance
