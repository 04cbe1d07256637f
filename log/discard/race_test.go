//go:build race

package discard_test

const raceEnabled = true // under which sync.Pool forgets on purpose
