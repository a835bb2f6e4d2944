//go:build race

package verified_test

const raceEnabled = true
