//go:build !race

package discard_test

const raceEnabled = false
