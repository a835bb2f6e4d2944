//go:build !race

package verified_test

const raceEnabled = false
