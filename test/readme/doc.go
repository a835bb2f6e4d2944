// Package readme runs what README.md shows, so that it works as typed.
package readme
