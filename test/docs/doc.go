// Package docs runs what the pages in docs/ show, so that it works as typed.
//
// A page says by a comment that its session is run. Its blocks of language
// console are one session: the lines that begin with "$ " are commands, with
// "> " their further lines, and the others what a command prints. They are run
// in one shell, in an empty folder, with gatehouse and kubectl in PATH; the page
// starts its server itself. A reader can do the same.
//
//   - In what is printed, ... stands for any text, and on a line of its own for
//     any lines. How many spaces there are does not matter, as columns are as
//     wide as what is in them.
//   - A command must fail if a line that it prints begins with "error" or
//     "Error" or is "no", and must not otherwise.
//   - A command that only reads is repeated for a while until it prints what it
//     should, because some things are true a moment later.
//   - The port 7443 is replaced by a free one.
package docs
