//go:build linux

// Package process starts a program as `gatehouse run` does: with files of its own
// in a mount namespace of its own, with nothing of its parent, and with its
// signals, its terminal and its exit code passed through.
//
// The one idea is a stage between fork and exec. A namespace has to be furnished
// from the inside, by a process with one thread, which a program in Go is not; so
// [Prepare] starts this same binary again in new namespaces, as [Inside], which
// mounts, hands the folder of the files back as a descriptor, waits until there
// are files in it, and then becomes the program. The files are in the memory of
// that namespace alone, and are gone with it.
//
// It refuses to go on where anything of that fails: the program is started with
// all of it or not at all. It is no jail. The program runs as its user, and may do
// what that user may do.
package process

import (
	"errors"
	"fmt"
	"syscall"
)

// Stage is the name of the hidden command of the binary that has to call
// [Inside].
const Stage = "run-inside"

// A Command is what to start.
type Command struct {
	// Path is the program, and Args what it is told, with its name first.
	Path string
	Args []string
	Env  []string
	// Mount is where the files appear, an absolute path. If it is empty there is
	// no namespace, and there are no files.
	Mount string
	// Hidden are files that are empty for the program. Those that do not exist
	// are passed over. They need a Mount.
	Hidden []string
	// User is who the program runs as; nil is who this process runs as.
	User *User
}

// A User is who a program runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// An Exit is how a program ended.
type Exit struct{ Status syscall.WaitStatus }

// Code is the exit code that a shell would report: of a program that a signal
// has ended, 128 and the number of the signal.
func (e Exit) Code() int {
	if e.Status.Signaled() {
		return 128 + int(e.Status.Signal())
	}
	return e.Status.ExitStatus()
}

// A StartError says that the program could not be executed. It is an error of the
// program's path, and not of what was to be there before.
type StartError struct {
	Path string
	Err  error
}

func (e *StartError) Error() string { return fmt.Sprintf("starting %s: %v", e.Path, e.Err) }

func (e *StartError) Unwrap() error { return e.Err }

// A PlaceError says that the files could not be put where the program looks.
type PlaceError struct {
	Mount string
	Err   error
}

func (e *PlaceError) Error() string { return fmt.Sprintf("making a mount namespace: %v", e.Err) }

func (e *PlaceError) Unwrap() error { return e.Err }

// ErrNotAllowed is that this system lets this user have no mount namespace.
var ErrNotAllowed = errors.New("a mount namespace is not allowed here")
